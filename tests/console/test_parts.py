"""Parts of the console that need no browser: formats, trees, filters, sessions, static files, templates."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.gateway.console import formatting, json_tree, login, rendering, shell_lines, task_flow
from iogate.gateway.console.list_filters import STATUSES, TEXTS, RunFilters
from iogate.gateway.console.pages import overview_page
from iogate.gateway.console.session import LOGIN_S, LONGEST_S, Sessions
from iogate.gateway.console.static_files import static_files, takes_gzip
from iogate.gateway.http.cookies import cookies_of, set_cookie
from iogate.operators.statistics import counts_json
from iogate.store.statistics.hourly_counts import Counts

NOW = 1_764_335_680_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.00 s"),
        (12_340, "12.3 s"),
        (59_960, "1 min"),
        (61_000, "1 min 1 s"),
        (7_500_000, "2 h 5 min"),
        (273_600_000, "3 d 4 h"),
        (None, formatting.NOTHING),
    ],
)
def test_a_duration_is_short(ms: float | None, text: str) -> None:
    assert formatting.duration(ms) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (5, "5 s ago"),
        (61, "1 min ago"),
        (7_300, "2 h ago"),
        (90_000, "1 day ago"),
        (180_000, "2 days ago"),
        (-120, "in 2 min"),
    ],
)
def test_a_time_is_told_relative_to_now(seconds: int, text: str) -> None:
    at = datetime.fromtimestamp(NOW / 1000 - seconds, tz=UTC).isoformat()
    assert formatting.ago(at, NOW) == text


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01T00:00:00Z", "9999-99-99"])
def test_a_time_that_cannot_be_read_is_a_dash(text: str | None) -> None:
    assert {formatting.exact(text), formatting.clock(text, NOW), formatting.ago(text, NOW)} == {
        formatting.NOTHING
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nodes(node: json_tree.Node) -> int:
    return 1 + sum(map(nodes, node.members))


@given(JSON)
@settings(max_examples=30)
def test_a_tree_has_each_value_once(value: Any) -> None:
    found = json_tree.tree(value)
    assert found.root is not None
    assert nodes(found.root) == json_tree._count(value, 10_000, 0)


@pytest.mark.parametrize("value", [list(range(5_000)), {"a": "x" * 200_000, "b": [[0] * 100] * 100}])
def test_a_value_with_too_many_members_is_text_with_a_limit(value: Any) -> None:
    found = json_tree.tree(value)
    assert found.root is None
    assert len(found.text) <= json_tree.MOST_TEXT
    assert found.is_cut == (found.size > json_tree.MOST_TEXT)


def test_a_large_value_takes_no_more_memory_than_itself() -> None:
    """Indented, it would have 40 MB."""
    deep = b"[" * 200 + b"1," * 100_000 + b"1" + b"]" * 200
    assert formatting.indent_json(deep) == deep
    found = json_tree.encoded_tree(deep)
    assert (found.root, found.text, found.size) == (
        None,
        deep[: json_tree.MOST_TEXT].decode(),
        len(deep),
    )
    assert found.is_cut
    text = b'"' + b"a" * json_tree.MOST_BYTES + b'"'
    assert json_tree.encoded_tree(text).root is None, "it is not decoded"
    assert json_tree.encoded_tree(text[:-3] + b'"').root is not None


def test_a_value_of_any_depth_is_shown() -> None:
    deep: Any = 0
    for _ in range(500):
        deep = [deep]
    assert json_tree.tree(deep).root is None


FILTERS = st.builds(
    RunFilters,
    statuses=st.sets(st.sampled_from(STATUSES)).map(lambda found: tuple(s for s in STATUSES if s in found)),
    **{name: st.text(max_size=20).map(str.strip) for name in (*TEXTS, "cursor")},
)


@given(FILTERS)
def test_the_url_of_a_list_restores_its_filters(filters: RunFilters) -> None:
    from urllib.parse import parse_qs, urlsplit

    url = filters.url(cursor=filters.cursor)
    assert url.isascii()
    assert RunFilters.read(parse_qs(urlsplit(url).query)) == filters


def test_the_line_of_a_list_has_the_options_of_the_command() -> None:
    filters = RunFilters(where="order:A:1", since="2h", statuses=("faulted",), cursor="x")
    assert filters.options() == {"status": "faulted", "where": "order=A:1", "since": "2h"}


@pytest.mark.parametrize(
    ("text", "given"),
    [("order=A-1", "order:A-1"), ("order:A-1", "order:A-1"), ("order=A:1", "order:A:1"), ("a:b=c", "a:b=c")],
)
def test_an_attribute_is_given_as_in_the_command_or_the_api(text: str, given: str) -> None:
    filters = RunFilters(where=text)
    assert (filters.given(), filters.query()) == ({"where": given}, {"where": text})
    assert filters.options() == {"where": given.replace(":", "=", 1)}


def test_a_session_ends_after_its_time_and_with_each_changed_character() -> None:
    sessions = Sessions("k" * 40)
    value = sessions.sign("ada", "g1", 1_000.0)
    jar = {sessions.cookie: value}
    assert sessions.find(jar, 1_000 + LONGEST_S - 1) is not None
    assert sessions.find(jar, 1_000 + LONGEST_S) is None
    for at in range(0, len(value) - 1, 3):
        forged = value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :]
        assert sessions.find({sessions.cookie: forged}, 1_000) is None
    assert Sessions("x" * 40).find(jar, 1_000) is None


def test_a_session_outlives_a_change_of_the_key_with_the_previous_one() -> None:
    old = Sessions("k" * 40)
    jar = {old.cookie: old.sign("ada", "g1", 1_000.0)}
    assert Sessions("n" * 40, ["k" * 40]).find(jar, 1_001) is not None
    assert Sessions("n" * 40).cookie != old.cookie


def test_a_login_link_is_no_session_and_ends_after_minutes() -> None:
    sessions = Sessions("k" * 40)
    text = sessions.sign_link("ada", "g1", 1_000.0)
    found = sessions.read_link(text, 1_000 + LOGIN_S - 1)
    assert found is not None
    assert found.operator == "ada"
    assert sessions.read_link(text, 1_000 + LOGIN_S) is None
    assert sessions.find({sessions.cookie: text}, 1_000) is None
    assert sessions.read_link(sessions.sign("ada", "g1", 1_000.0), 1_000) is None


def test_the_cookie_is_confined() -> None:
    header = set_cookie("iogate_1", "v", secure=True, seconds=60).decode()
    assert header == "iogate_1=v; Path=/console; HttpOnly; SameSite=Strict; Max-Age=60; Secure"
    assert cookies_of("a=1; iogate_1=v; a=2;b") == {"a": "1", "iogate_1": "v"}


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/console\\@evil.example",
        "/consoles",
        "/console/login?next=/console",
        "/console/logout",
        "javascript:alert(1)",
        "/v1/runs/1",
        "/console/\r\nx: y",
        "",
    ],
)
def test_a_login_leads_to_the_console_only(text: str) -> None:
    assert login.safe_target(text) == "/console"


def test_a_login_leads_to_the_page_that_was_asked_for() -> None:
    url = "/console/runs?api=a/b&since=2h#x"
    assert login.safe_target(url) == url


def test_no_template_inserts_unescaped_text() -> None:
    templates = {file.name: file.read_text() for file in sorted(rendering.FOLDER.glob("*.html"))}
    assert len(templates) > 5
    for name, text in templates.items():
        assert (
            re.search(r"\|\s*safe\b|autoescape|Markup|\bstyle\s*=|\son[a-z]+\s*=|javascript:", text) is None
        ), name
        rendering.environment().get_template(name)
    sources = "".join(file.read_text() for file in Path(rendering.__file__).parent.rglob("*.py"))
    assert "Markup(" not in sources


def test_a_template_escapes_all_text_and_shows_control_characters() -> None:
    made = rendering.environment().from_string("{{ a }}|{{ b }}|<i title='{{ a }}'>")
    assert made.render(a="<b>'\"&\x1b\u202e", b=None) == (
        "&lt;b&gt;&#39;&#34;&amp;\\u001b\\u202e||<i title='&lt;b&gt;&#39;&#34;&amp;\\u001b\\u202e'>"
    )
    with pytest.raises(jinja2.UndefinedError):
        made.render(a="")


def test_static_files_have_names_by_content_and_are_small() -> None:
    urls = static_files().urls
    total = 0
    for name, url in urls.items():
        file = url.rpartition("/")[2]
        assert re.fullmatch(rf"{Path(name).stem}\.[0-9a-f]{{12}}\{Path(name).suffix}", file)
        packed = static_files().find(file, packed=True)
        assert packed is not None
        if name.endswith(".js"):
            total += len(packed.content)
    assert total <= 8_000
    assert static_files().find("../rendering.py", packed=False) is None


@pytest.mark.parametrize(
    ("header", "takes"), [("gzip, br", True), ("", False), ("gzip;q=0", False), ("br", False)]
)
def test_a_browser_says_whether_it_takes_gzip(header: str, *, takes: bool) -> None:
    assert takes_gzip(header) is takes


def test_a_line_for_the_shell_is_quoted() -> None:
    assert shell_lines.line(
        "runs", "list", options={"caller": "a b; rm -rf /", "api": "", "status": "faulted"}
    ) == ("iogate runs list --caller 'a b; rm -rf /' --status faulted")


def test_the_overview_counts_attempts_and_says_so() -> None:
    stats = counts_json(Counts({b"w0": 10, b"c0": 5, b"f0": 6, b"r": 1}))
    state: dict[str, Any] = {
        "refusedRecord": None,
        "drainedS": None,
        "gateways": [],
        "workers": [{"id": "w", "failed": []}],
        "apis": [],
        "runs": {"suspended": 0, "running": 0, "waiting": 0},
        "queue": {"depth": 0, "oldestS": 0},
    }
    (sign,) = overview_page.attention(state, {"apis": [{"api": "shop/invoice", **stats}]})
    assert (sign["subject"], sign["text"]) == ("shop/invoice", "6 of 11 attempts faulted in 24 h")
    tile = overview_page.tiles(state, stats)[4]
    assert (tile["name"], tile["value"], tile["note"]) == (
        "Faults, 24 h",
        "6",
        "54.5 % of the attempts that ended",
    )


def test_the_tree_of_tasks_has_the_references_of_the_journal() -> None:
    definition = {
        "do": [
            {
                "reserve": {
                    "try": [
                        {"stock": {"call": "http", "with": {"method": "post", "endpoint": "http://x/y"}}}
                    ],
                    "catch": {"do": [{"fallback": {"set": {"a": 1}}}]},
                }
            },
            {"each": {"for": {"each": "item", "in": "${ .x }"}, "do": [{"one": {"wait": {"seconds": 1}}}]}},
            {"ship": {"fork": {"branches": [{"label": {"do": [{"print": {"set": {}}}]}}]}}},
        ]
    }
    steps, is_cut = task_flow.build(definition, {"/do/0/reserve/try/0/stock": 3})
    found: dict[str, task_flow.Step] = {}

    def walk(some: tuple[task_flow.Step, ...]) -> None:
        for each in some:
            found[each.reference] = each
            for branch in each.branches:
                walk(branch.tasks)

    walk(steps)
    assert not is_cut
    assert list(found) == [
        "/do/0/reserve",
        "/do/0/reserve/try/0/stock",
        "/do/0/reserve/catch/do/0/fallback",
        "/do/1/each",
        "/do/1/each/for/do/0/one",
        "/do/2/ship",
        "/do/2/ship/fork/branches/0/label",
        "/do/2/ship/fork/branches/0/label/do/0/print",
    ]
    stock = found["/do/0/reserve/try/0/stock"]
    assert (stock.kind, stock.text, stock.faults) == ("call", "http POST http://x/y", 3)


@given(JSON)
@settings(max_examples=10)
def test_the_tree_of_any_definition_is_bounded(value: Any) -> None:
    task_flow.build({"do": value}, {})
    steps, is_cut = task_flow.build({"do": [{"a": {"do": [{"b": {}}] * 2_000}}]}, {})
    assert is_cut
    assert len(json.dumps([step.name for step in steps])) < 100
