"""Functions are found in the modules of the settings, described and called by their signatures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import jsonschema_rs
import pytest

import iogate
from iogate.errors import InvalidFiles, WorkflowError
from iogate.functions import Context, Function, Registry, describe, load

CONTEXT = Context(idempotency_key="k", run_id="1")


class Line(TypedDict):
    sku: str
    count: int


@dataclass
class Receipt:
    total: float
    lines: list[Line]


@dataclass(frozen=True)
class Part:
    sku: str
    count: int = 1


@dataclass
class Box:
    parts: list[Part]
    label: str | None = None


def order(
    sku: str,
    ctx: Context,
    count: int = 1,
    speed: Literal["slow", "fast"] | None = None,
    lines: list[Line] | None = None,
    receipt: Receipt | None = None,
) -> Receipt:
    assert ctx is CONTEXT
    assert receipt is None or isinstance(receipt, Receipt)
    return Receipt(total=float(count), lines=lines or [{"sku": sku, "count": count}])


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder whose modules and path are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(root: Path, name: str, text: str) -> None:
    (root / name).write_text("import iogate\n" + text, encoding="utf-8")


def test_marked_functions_of_listed_modules_are_found(modules: Path) -> None:
    write(
        modules,
        "greetings_a.py",
        '@iogate.function("greet", version="1.2.0", idempotent=False)\n'
        "async def f(name: str, ctx: iogate.Context) -> str:\n    return name\n"
        "@iogate.function()\ndef bye(): return None\n"
        "def hidden(): return None\n",
    )
    registry = load(["greetings_a"], modules)
    assert [function.reference for function in registry] == ["bye:1.0.0@default", "greet:1.2.0@default"]
    greet = registry.get("greet", "1.2.0")
    assert greet is not None
    assert (greet.is_async, greet.idempotent, greet.wants_context) == (True, False, True)
    assert registry.versions("greet") == ("1.2.0",)
    assert registry.get("hidden", "1.0.0") is None


def test_a_function_that_two_modules_share_is_one(modules: Path) -> None:
    write(modules, "shared_a.py", '@iogate.function("x")\ndef x(): return 1\n')
    write(modules, "shared_b.py", "from shared_a import x\n")
    assert len(load(["shared_a", "shared_b"], modules)) == 1


def test_one_name_and_version_for_two_functions_is_refused(modules: Path) -> None:
    write(modules, "twice_a.py", '@iogate.function("x")\ndef x(): return 1\n')
    write(modules, "twice_b.py", '@iogate.function("x")\ndef y(): return 2\n')
    with pytest.raises(InvalidFiles, match=r"x:1\.0\.0 is registered twice: by twice_a\.x and by twice_b\.y"):
        load(["twice_a", "twice_b"], modules)


def test_a_module_that_cannot_be_imported_is_named(modules: Path) -> None:
    write(modules, "broken_a.py", "1 / 0\n")
    with pytest.raises(InvalidFiles) as caught:
        load(["no_such_module_a"], modules)
    assert caught.value.message == (
        'cannot import module "no_such_module_a" of the setting functions: '
        "ModuleNotFoundError: No module named 'no_such_module_a'"
    )
    assert caught.value.hint == "write no_such_module_a.py in the project's folder, or correct the name"
    with pytest.raises(InvalidFiles, match="ZeroDivisionError: division by zero"):
        load(["broken_a"], modules)


def test_a_signature_becomes_a_schema_that_agrees_with_the_call() -> None:
    function = describe(order, "order", "1.0.0")
    schema = jsonschema_rs.Draft202012Validator(dict(function.input_schema))
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"sku": "A"}, True),
        ({"sku": "A", "count": 2, "speed": "fast", "lines": [{"sku": "B", "count": 1}]}, True),
        ({"sku": "A", "receipt": {"total": 1.5, "lines": []}}, True),
        ({}, False),
        ({"sku": 1}, False),
        ({"sku": "A", "speed": "warp"}, False),
        ({"sku": "A", "lines": [{"sku": "B"}]}, False),
        ({"sku": "A", "ctx": {}}, False),
        ({"sku": "A", "colour": "red"}, False),
    ]
    for arguments, fits in cases:
        assert schema.is_valid(arguments) is fits, arguments
        if fits:
            result = function.result(function.callable(**function.bind(arguments, CONTEXT)))
            assert jsonschema_rs.is_valid(dict(function.output_schema), result)
        else:
            with pytest.raises(WorkflowError):
                function.bind(arguments, CONTEXT)


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        ({"sku": 1}, "argument 'sku': Expected `str`, got `int`"),
        ({"sku": "A", "colour": 1}, "unknown argument 'colour'; its arguments are: sku, count, speed"),
        ({}, "missing argument 'sku'"),
    ],
)
def test_arguments_that_do_not_fit_are_a_validation_error(arguments: dict[str, Any], detail: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        describe(order, "order", "1.0.0").bind(arguments, CONTEXT)
    assert caught.value.status == 400
    assert caught.value.type.endswith("/validation")
    assert (caught.value.detail or "").startswith(f"order:1.0.0@default: {detail}")


def test_a_dataclass_that_came_in_goes_out_with_its_defaults() -> None:
    def same(box: Box) -> Box:
        return box

    function = describe(same, "same", "1.0.0")
    arguments = function.bind({"box": {"parts": [{"sku": "A"}]}}, CONTEXT)
    assert function.result(same(**arguments)) == {"parts": [{"sku": "A", "count": 1}], "label": None}


def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    def take(n: int, many: list[int], x: float, free: Any) -> None: ...

    function = describe(take, "take", "1.0.0")
    bound = function.bind({"n": 2.0, "many": [1.0, 2], "x": 2.0, "free": 2.0}, CONTEXT)
    assert [type(bound[name]) for name in ("n", "x", "free")] == [int, float, float]
    assert bound["many"] == [1, 2]
    with pytest.raises(WorkflowError) as caught:
        function.bind({"n": 2.5, "many": [], "x": 0, "free": None}, CONTEXT)
    assert caught.value.detail == "take:1.0.0@default: argument 'n': Expected `int`, got `float`"


def test_extra_arguments_reach_a_function_that_takes_any() -> None:
    def anything(**extra: object) -> object:
        return extra

    assert describe(anything, "anything", "1.0.0").bind({"a": 1}, CONTEXT) == {"a": 1}


def test_a_result_that_is_no_json_is_a_runtime_error() -> None:
    def odd() -> object:
        return object()

    function = describe(odd, "odd", "1.0.0")
    with pytest.raises(WorkflowError, match=r"odd:1\.0\.0@default returned a object"):
        function.result(odd())


def test_signatures_that_do_not_fit_json_are_refused() -> None:
    def positional(*names: str) -> None: ...

    def typed(thing: Path | Function) -> None: ...

    def unnamed(context: Context) -> None: ...

    for target, message in (
        (positional, 'parameter "names" of function f:1.0.0'),
        (typed, 'parameter "thing" of function f:1.0.0'),
        (unnamed, 'takes the context and must be named "ctx"'),
    ):
        with pytest.raises(InvalidFiles, match=r"f:1\.0\.0") as caught:
            describe(target, "f", "1.0.0")
        assert message in caught.value.message


def test_an_invalid_name_or_version_is_refused_by_the_decorator() -> None:
    with pytest.raises(InvalidFiles, match="invalid function name 'a b'"):
        iogate.function("a b")(order)
    with pytest.raises(InvalidFiles, match="version '1' of function 'a' is not a semantic version"):
        iogate.function("a", version="1")(order)
    with pytest.raises(TypeError, match="with parentheses"):
        iogate.function(order)  # type: ignore[arg-type]  # the mistake under test


def test_the_package_exports_only_the_api_for_authors() -> None:
    assert iogate.Context is Context
    assert iogate.WorkflowError is WorkflowError
    with pytest.raises(AttributeError, match="'iogate' has no attribute 'nothing'"):
        _ = iogate.nothing
    assert len(Registry()) == 0
