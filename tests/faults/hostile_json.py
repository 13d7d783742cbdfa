"""JSON texts that a parser must accept, must refuse, or may do either with, by the categories of RFC 8259.

Used by `hostile_http`. The gateway is stricter than the RFC where it says so: no duplicate keys, at most 64
levels, and only texts that UTF-8 can encode.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Final

LEVELS: Final = 64
"""Levels that the gateway accepts."""


def _numbered(kind: str, texts: Iterable[str | bytes]) -> Iterator[tuple[str, bytes]]:
    for number, text in enumerate(texts):
        yield f"{kind} {number}", text if isinstance(text, bytes) else text.encode()


def accepted() -> dict[str, bytes]:
    """Return texts that must be accepted, and keep their value."""
    found: dict[str, bytes] = {}
    found |= _numbered(
        "scalar in a list",
        [
            "[]",
            "[ ]",
            "[null]",
            "[true,false]",
            '[""]',
            "[0]",
            "[-0]",
            "[1e1]",
            "[1E+2]",
            "[0e+1]",
            "[1.5e-3]",
        ],
    )
    found |= _numbered(
        "number",
        [
            "[123456789012345678901234567890]",
            "[-9223372036854775808]",
            "[18446744073709551615]",
            "[1e-400]",
            "[0.1234567890123456789]",
            "[-123.456e78]",
            "[1.7976931348623157e308]",
            "[5e-324]",
            f"[0.{'0' * 300}1]",
        ],
    )
    found |= _numbered(
        "escape",
        [
            r'["\"\\\/\b\f\n\r\t"]', r'["\u0000"]', r'["\u001f"]', r'["\u00e9"]', r'["\uD83D\uDE00"]',
            r'["\ud834\udd1e"]',
            r'["\uFFFE"]', r'["\uFFFF"]', r'["\u2028\u2029"]', r'["\u005C"]', r'["\\u12"]', r'["\/"]',
            '["\x7f"]',
        ],
    )  # fmt: skip
    found |= _numbered(
        "text",
        [
            '["é"]',
            '["😀"]',
            '["\u2028"]',
            '["\ufffd"]',
            '["\U0010ffff"]',
            '["\ufdd0"]',
            '["a/*b*/c"]',
            '["π"]',
        ],
    )
    found |= _numbered(
        "map",
        [
            "{}",
            '{"":0}',
            '{"a":{}}',
            '{"a":[]}',
            r'{"\u0000":1}',
            '{"a":1,"A":2}',
            r'{"__proto__":{"x":1}}',
            '{"é":1}',
        ],
    )
    found |= _numbered("whitespace", [" [] ", "\t[\n1\r]\n", '{\n"a"\t:\r1\n}', "[1 , 2]", "\r\n{}\r\n"])
    found |= _numbered("levels", ["[" * depth + "]" * depth for depth in (2, 32, LEVELS)])
    found |= _numbered("levels of maps", ['{"a":' * depth + "1" + "}" * depth for depth in (2, 32, LEVELS)])
    found["wide list"] = b"[" + b",".join([b"0"] * 20_000) + b"]"
    found["wide map"] = b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(4_000)) + b"}"
    found["long text"] = b'["' + b"a" * 300_000 + b'"]'
    found["long key"] = b'{"' + b"k" * 60_000 + b'":1}'
    return found


def refused() -> dict[str, bytes]:
    """Return texts that must be refused."""
    found: dict[str, bytes] = {}
    found |= _numbered(
        "no value",
        [
            "nul", "nulll", "Null", "NULL", "tru", "True", "truefalse", "undefined", "None", "[nul]",
            "[tru]", "[fals]",
            "NaN", "[NaN]", "[-NaN]", "[Infinity]", "[-Infinity]", "[+Inf]", "[inf]", "[Nan]", "[nan]",
            "abc", "'a'", "['a']",
            "\\u0031", '"', '"a', 'a"', "<null>", "[<null>]", "*", "[*]", "\x00", "[\x00]", "\u2060",
            "[\u2060]", "å", "[å]",
        ],
    )  # fmt: skip
    found |= _numbered(
        "number",
        [
            "[01]", "[-01]", "[-]", "[+1]", "[++1]", "[--1]", "[.1]", "[1.]", "[-.1]", "[1.e1]", "[1e]",
            "[1e+]", "[1e-]",
            "[1eE2]", "[0x10]", "[0b1]", "[0o7]", "[1_000]", "[1 000]", "[1,000.]", "[1.2.3]", "[1a]",
            "[1-2]", "[\uff11]", "[0.e1]",
            "[1E400]", "[-1e9999]", "[9.9e999999999]", "[1e1e1]", "[2.]", "[-2.]", "[0e]", "[1/2]",
            "[0.3e]", "[- 1]",
        ],
    )  # fmt: skip
    found |= _numbered(
        "list",
        [
            "[", "[[", "]", "[]]", "[1", "[1,", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1;2]",
            "[1:2]", '["a" "b"]', "[1]x",
            "[1],", "[][]", "[1}", "{1]", "(1)", "[...]", "[1,\n2", '["a",\n4\n,1,', '["a\\"]', "[1]]",
            "[[1],", "[//c\n1]",
            "[/*c*/1]", "[#c\n1]", "[\v1]", "[\f1]", "[\u00a01]", "[\u20281]", "[1\ufeff]",
        ],
    )  # fmt: skip
    found |= _numbered(
        "map",
        [
            "{", "}", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{"a":1,,"b":2}', '{"a" 1}',
            '{"a"::1}', "{:1}", "{1:1}",
            "{a:1}", "{'a':1}", '{"a","b"}', '{"a":1 "b":2}', '{"a":1}}', '{"a":1}x', "{null:1}",
            "{[1]:1}", '{"a":1;}', '{"a"=1}',
            '{"a":/*c*/1}', '{"a":1}//c', '{"a":1}#c', "{,}", '{"a":1,"a":2}', r'{"a":1,"\u0061":2}',
            '{"a":{"b":1,"b":1}}',
            '{"a":1,"b":2,"a":1}', "{{}:1}", '{"":1,"":2}',
        ],
    )  # fmt: skip
    found |= _numbered(
        "escape",
        [
            r'["\x41"]', r'["\a"]', r'["\v"]', r'["\0"]', "[\"\\'\"]", r'["\u"]', r'["\u1"]',
            r'["\u12"]', r'["\u123"]', r'["\uZZZZ"]',
            r'["\u 041"]', r'["\U00000041"]', r'["\ "]', r'["\é"]', r'["\`u00e9"]', r'["\u00A"]',
            r'["\uD834\u"]', '["\\"', '["a\\',
        ],
    )  # fmt: skip
    found |= _numbered("control character", [b'["%c"]' % code for code in range(32)])
    found |= _numbered(
        "lone surrogate",
        [
            r'["\uD800"]', r'["\uDC00"]', r'["\uD800\uD800"]', r'["\uDC00\uD800"]', r'["\uD800a"]',
            r'["\uDBFF\u0041"]',
            r'["\ud800\n"]', r'{"\uDFAA":0}', r'["\uD888\u1234"]', r'["\uDd1e\uD834"]',
        ],
    )  # fmt: skip
    found |= _numbered(
        "not UTF-8",
        [
            b'["\xff"]', b'["\xc0\xaf"]', b'["\xe0\x80\xaf"]', b'["\xf4\x90\x80\x80"]',
            b'["\xed\xa0\x80"]', b'["\xed\xbf\xbf"]',
            b'["\x80"]', b'["\xe9"]', b'["\xc3"]', b'["\xe2\x82"]', b'["\xf0\x9f\x98"]', b'["\xc0\x80"]',
            b'["\xfe\xff"]', b"\xff[]",
            b'{"\xff":1}', b"[\xe5]", b"[1]\xe5", b'["\xf8\x88\x80\x80\x80"]',
            b'["\xe6\x97\xa5\xd1\x88\xfa"]', b"[\xff]",
        ],
    )  # fmt: skip
    for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        found[name] = '["é"]'.encode(name)
    found["utf-16 with a mark"] = codecs.BOM_UTF16_LE + '{"a":1}'.encode("utf-16-le")
    found["cut mark"] = codecs.BOM_UTF8[:2] + b"{}"
    found["mark inside"] = b"[" + codecs.BOM_UTF8 + b"1]"
    found |= _numbered(
        "levels",
        ["[" * depth + "]" * depth for depth in (LEVELS + 1, 500, 5_000, 100_000)]
        + ['{"a":' * depth + "1" + "}" * depth for depth in (LEVELS + 1, 500, 100_000)]
        + ['[{"a":' * depth + "1" + "}]" * depth for depth in (LEVELS, 30_000)],
    )
    found |= _numbered("open levels", ["[" * 200_000, '{"a":' * 100_000, '[{"":' * 50_000, '{"a":[' * 50_000])
    found["zero bytes"] = b"\0" * 1_000
    whole = json.dumps(
        {"a": [1, -2.5e3, "x\\y\n", None, True, {"b": {}}], "é": "😀"}, ensure_ascii=False
    ).encode()
    for at in range(1, len(whole)):
        found[f"cut at {at}"] = whole[:at]
    return found


def either() -> dict[str, bytes]:
    """Return texts that the RFC leaves to the parser."""
    found: dict[str, bytes] = {"mark": codecs.BOM_UTF8 + b"{}", "mark, list": codecs.BOM_UTF8 + b"[1]"}
    found |= _numbered("spaces", [" ", "\n\n", "\t" * 50_000])
    found |= _numbered("scalar", ["null", "true", "0", '"a"', "-1.5e3", '""'])
    found |= _numbered(
        "huge number",
        [
            "[" + "9" * 400 + "]",
            "[" + "9" * 5_000 + "]",
            "[" + "9" * 100_000 + "]",
            "[-" + "1" * 20_000 + "." + "3" * 20_000 + "]",
            "[0." + "7" * 100_000 + "]",
            "[1e" + "0" * 10_000 + "1]",
            "[0e99999999999999999999]",
            "[1" + "0" * 400 + "e-400]",
            "[1e-99999999999]",
        ],
    )
    found["many numbers of 300 digits"] = b"[" + b",".join([b"7" * 300] * 2_000) + b"]"
    found["many large exponents"] = b"[" + b",".join([b"1e308"] * 9_000) + b"]"
    found["equal prefixes"] = b"{" + b",".join(b'"%s%d":0' % (b"k" * 200, n) for n in range(3_000)) + b"}"
    found["combining characters"] = ('["' + "e" + "\u0301" * 50_000 + '"]').encode()
    return found
