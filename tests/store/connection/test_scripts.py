"""Lua operations follow their conventions and use only commands of Redis 6.2."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from iogate.store import keys
from iogate.store.connection import scripts
from iogate.store.runs import views
from iogate.store.store import Store
from tests.store.connection.lua_names import Names, names_of

HEADER = ("keys", "args", "returns", "invariant")
COMMANDS = """
DEL EXISTS EXPIRE GET HDEL HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HSET HSTRLEN HVALS
LINDEX LLEN LPOP LPOS LPUSH LRANGE LREM LTRIM PERSIST PEXPIRE PEXPIREAT PTTL PUBLISH RPUSH SADD SET SISMEMBER
SMEMBERS SPOP SREM TIME TYPE UNLINK XADD ZADD ZCARD ZCOUNT ZMSCORE ZPOPMIN ZRANGE ZRANGEBYSCORE ZRANK ZREM
ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZSCORE
"""


@pytest.mark.parametrize("name", scripts.names())
def test_each_operation_documents_keys_arguments_and_results(name: str) -> None:
    text = files("iogate.store").joinpath("lua", f"{name}.lua").read_text()
    lines = text.splitlines()
    assert re.match(r"-- [A-Z].*", lines[0]), "what it does, first"
    header = [line for line in lines if line.startswith("-- ")]
    for part in HEADER:
        assert any(line.startswith(f"-- {part}: ") for line in header), part


@pytest.mark.parametrize("name", scripts.names())
def test_each_operation_uses_only_known_keys_and_commands_of_6_2(name: str) -> None:
    text = scripts.script(name).text
    used = set(re.findall(r"redis\.call\('([A-Z]+)'", text))
    assert used <= set(COMMANDS.split())
    assert not re.search(r"\$[a-z]", re.sub(r"--.*", "", text)), "a name that keys.py does not know"


def test_no_key_is_spelled_outside_its_module() -> None:
    """A key in another module would have an undocumented lifetime."""
    folder = files("iogate.store")
    for file in folder.iterdir():
        if file.name.endswith(".py") and file.name != "keys.py":
            assert '"iogate:' not in file.read_text(), file.name
            assert '"rq:' not in file.read_text(), file.name
    for lua in folder.joinpath("lua").iterdir():
        if lua.name.endswith(".lua"):
            assert "'iogate:" not in lua.read_text(), lua.name
            assert "'rq:" not in lua.read_text(), lua.name


def test_an_idempotency_key_of_any_length_becomes_a_short_one() -> None:
    long = keys.idempotency("a/b", "caller", "k" * 100_000)
    assert len(long) < 100
    assert keys.idempotency("a/b", "x", "yz") != keys.idempotency("a/b", "xy", "z")


def test_both_languages_name_the_fields_of_an_ended_record_alike() -> None:
    text = files("iogate.store").joinpath("lua", "include", "ended.lua").read_text()
    names = re.search(r"^local ENDED = \{(.+?)\}", text, re.MULTILINE | re.DOTALL)
    assert names
    assert tuple(re.findall(r"'(\w+)'", names[1])) == views.Ended.__struct_fields__


def own_names(text: str) -> Names:
    """Names of a script or fragment without those that it includes."""
    return names_of(re.sub(r"\$[a-z_]+", "0", text))


def fragments() -> dict[str, str]:
    folder = files("iogate.store").joinpath("lua", "include")
    return {file.name.removesuffix(".lua"): file.read_text() for file in folder.iterdir()}


@pytest.mark.parametrize("name", scripts.names())
def test_each_name_that_a_script_uses_is_defined(name: str) -> None:
    """Redis finds a missing function only when the script calls it."""
    assert names_of(scripts.script(name).text).free == set()


def test_scripts_and_fragments_name_exactly_the_fragments_that_they_use() -> None:
    texts = fragments()
    names = {fragment: own_names(text) for fragment, text in texts.items()}
    home = {each: fragment for fragment, found in names.items() for each in found.defined}
    assert len(home) == sum(len(found.defined) for found in names.values()), "a name has one fragment"
    for name in scripts.names():
        texts[f"script {name}"] = files("iogate.store").joinpath("lua", f"{name}.lua").read_text()
    for name, text in texts.items():
        lines = re.findall(r"^ *-- (?:include|needs): (.+)$", text, re.MULTILINE)
        given = [each for line in lines for each in line.split()]
        used = {home[each] for each in own_names(text).free if each in home}
        # They define no name: one stops the script of a drained store, the other corrects the clock.
        acting = {"drained", "time"} & set(given)
        assert sorted(given) == sorted((used - {"clock"} if "time" in acting else used) | acting), name


@pytest.mark.parametrize("name", scripts.names())
def test_each_script_reads_the_clock_once_and_corrects_it(name: str) -> None:
    """A script without the correction would see time go back after the clock of the server was set back."""
    text = scripts.script(name).text
    reads = text.count("redis.call('TIME')")
    assert reads <= 1
    assert not reads or "correct_clock()" in text.replace("function correct_clock()", ""), name


def test_a_fragment_comes_once_and_after_those_that_it_needs() -> None:
    texts = {"a": "-- needs: b c\nA", "b": "-- needs: c\nB", "c": "C", "d": "-- needs: c\nD"}
    found = scripts.expand(
        "-- include: a d\nif x then\n  -- include: b\n  -- include: e\nend", {**texts, "e": "E"}.__getitem__
    )
    assert re.findall(r"^ *[A-Z]$", found, re.MULTILINE) == ["C", "B", "A", "D", "E"]
    block = "do\n  -- include: b\nend\ndo\n  -- include: b\nend\n-- include: b"
    assert re.findall(r"^[A-Z]$", scripts.expand(block, texts.__getitem__), re.MULTILINE) == ["C", "B"] * 3


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"a": "-- needs: b", "b": "-- needs: c", "c": "-- needs: a"},
            "script fragments need each other: a -> b -> c -> a",
        ),
        ({"a": "-- needs: b"}, "no script fragment b, which a needs"),
        ({}, "no script fragment a"),
    ],
)
def test_fragments_that_are_missing_or_need_each_other_are_an_error(
    texts: dict[str, str], message: str
) -> None:
    def read(name: str) -> str:
        if name not in texts:
            raise FileNotFoundError(name)
        return texts[name]

    with pytest.raises(scripts.InvalidScript) as raised:
        scripts.expand("-- include: a", read)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("local a = 1 return a + b", {"b"}),
        ("local function f(x, ...) return x.y:z(w) end f()", {"w"}),
        ("for i, v in pairs(t) do g(i, v) end return i", {"t", "g", "i"}),
        ("for i = 1, n do local k = {k = i, [m] = 2} end", {"n", "m"}),
        ("if c then local x = 1 else y = x end", {"c", "x", "y"}),
        ("repeat local done = f() until done\nreturn done", {"f", "done"}),
        ("while p(q) do local z = 'a -- b' end -- comment", {"p", "q"}),
        ("local t = {} function t.f(a) return a, self end", {"self"}),
        ("f() local function f() end", {"f"}),
    ],
)
def test_the_names_of_a_chunk_are_those_of_its_scopes(text: str, free: set[str]) -> None:
    assert names_of(text).free == free


async def test_every_operation_loads_on_every_server(each_store: Store) -> None:
    shas = [scripts.script(name).sha for name in scripts.names()]
    assert await each_store.call("SCRIPT", "EXISTS", *shas) == [1] * len(shas)
