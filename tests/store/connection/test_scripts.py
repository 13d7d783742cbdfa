"""Lua operations follow their conventions and use only commands of Redis 6.2."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from iogate.store import keys
from iogate.store.connection import scripts
from iogate.store.runs import views
from iogate.store.store import Store

HEADER = ("keys", "args", "returns", "invariant")
COMMANDS = """
DEL EXISTS EXPIRE GET HDEL HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HSET HSTRLEN HVALS
LINDEX LLEN LPOP LPOS LPUSH LRANGE LREM LTRIM PERSIST PEXPIRE PEXPIREAT PTTL PUBLISH RPUSH SADD SET SISMEMBER
SMEMBERS SPOP SREM TIME TYPE XADD ZADD ZCARD ZCOUNT ZMSCORE ZPOPMIN ZRANGE ZRANGEBYSCORE ZRANK ZREM
ZREMRANGEBYSCORE ZSCORE
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


async def test_every_operation_loads_on_every_server(each_store: Store) -> None:
    shas = [scripts.script(name).sha for name in scripts.names()]
    assert await each_store.call("SCRIPT", "EXISTS", *shas) == [1] * len(shas)
