"""The models accept the same workflows as the official schema: its examples, and mutations of them."""

from __future__ import annotations

import random
from pathlib import Path

import jsonschema_rs
import pytest

from iogate.documents import load, schema
from tests.documents.corpus import EXAMPLES, data_of, holds, needs_standard, official
from tests.documents.mutations import mutations
from tests.examples import THOROUGH

RICH = Path(__file__).parent / "rich.yaml"
EVERY = 1 if THOROUGH else 12
"""Each run tries one of so many mutations, from another one on, so that a few runs try all of them."""
FIRST = random.randrange(EVERY)

# The schema tells a literal time or instance from an expression by `format`, which its dialect does not
# assert: taken at its word it refuses every expression there. The standard's text allows them, so do we.
# It wants an object as input of a workflow that is run, where the text takes anything.
DEVIATIONS = (
    "'time') to '${ .x }'",
    "'instance') to '${ .x }'",
    "'workflow', 'input') to '${ .x }'",
)
# The schema takes an empty shell command, which does nothing: here it is a mistake, told with its place.
STRICTER = ("'shell', 'command') to ''",)


@needs_standard
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_loads_without_an_error(path: Path) -> None:
    documents = load(path.parent, [path])
    assert documents.errors == ()
    assert len(documents.workflows) == 1


@needs_standard
def test_there_are_68_examples() -> None:
    assert len(EXAMPLES) == 68


@needs_standard
@pytest.mark.parametrize("part", range(8))
def test_verdicts_agree_on_mutations_of_the_examples(part: int) -> None:
    """A part of tens of thousands of mutations."""
    judge, count, disagreements = official(), 0, []
    for path in EXAMPLES[part::8]:
        for number, (what, mutated) in enumerate(mutations(data_of(path))):
            if number % EVERY != FIRST or what.endswith((*STRICTER, *DEVIATIONS)):
                continue
            count += 1
            document = mutated()
            if judge.is_valid(document) != holds(document):
                disagreements.append(f"{path.name}: {what}")
    assert disagreements == []
    assert count > 400


@needs_standard
def test_verdicts_agree_on_mutations_of_a_workflow_with_every_key() -> None:
    judge, count, disagreements, deviations = official(), 0, [], 0
    document = data_of(RICH)
    assert judge.is_valid(document)
    assert holds(document)
    for number, (what, mutated) in enumerate(mutations(document)):
        deliberate = what.endswith(DEVIATIONS)
        if what.endswith(STRICTER) or (not deliberate and number % EVERY != FIRST):
            continue
        count += 1
        changed = mutated()
        if judge.is_valid(changed) != holds(changed):
            if deliberate and holds(changed):
                deviations += 1
            else:
                disagreements.append(what)
    assert disagreements == []
    assert count > 1_000
    assert deviations == 5


def test_an_empty_shell_command_is_refused_unlike_in_the_schema() -> None:
    document = {
        "document": {"dsl": "1.0.0", "namespace": "a", "name": "b", "version": "1.0.0"},
        "do": [{"tell": {"run": {"shell": {"command": "true"}}}}],
    }
    assert holds(document)
    document["do"][0]["tell"]["run"]["shell"]["command"] = ""  # type: ignore[index]
    assert not holds(document)


def test_a_policy_of_two_kinds_is_refused_unlike_in_the_schema() -> None:
    """The other deliberate deviation: `basic` beside an invalid `bearer` passes the schema."""
    document = data_of(RICH)
    document["use"]["authentications"]["k"]["bearer"] = 3
    assert not holds(document)


@needs_standard
def test_the_editors_schema_accepts_every_example() -> None:
    validator = jsonschema_rs.Draft202012Validator(schema("workflow"))
    refused = [path.name for path in EXAMPLES if not validator.is_valid(data_of(path))]
    assert refused == []


def test_the_editors_schemas_are_schemas_and_refuse_unknown_keys() -> None:
    for kind in ("api", "workflow"):
        jsonschema_rs.meta.validate(schema(kind))
    api = jsonschema_rs.Draft202012Validator(schema("api"))
    method = {"workflow": "shop/fulfil", "timeout": "5m", "limits": {"rate": "5/s", "body": "1MiB"}}
    module = {"module": "orders", "auth": {"token": {"env": "T"}}, "methods": {"submit": method}}
    assert api.is_valid(module)
    assert api.is_valid(module | {"auth": {"token": [{"env": "T"}, {"env": "U"}]}})
    assert not api.is_valid(module | {"methods": {"submit": method | {"verb": "GET"}}})
