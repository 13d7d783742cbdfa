"""The page of documents has the keys that the models have; that of workflows says what is not executed."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from iogate.auth.forms import FORMS, SIGNATURE, SOURCES
from iogate.auth.signature_schemes import SCHEMES, HeaderReader, Signer
from iogate.compiler.features import FEATURES
from iogate.documents import api
from iogate.documents.debug_cases import MockError
from iogate.documents.dsl.metadata import ScheduleCase
from iogate.errors import RESPONSE_HEADERS
from tests.docs.pages import DOCS, names, rows, sections

PAGE = DOCS / "reference" / "documents.md"

TABLES: dict[str, type[BaseModel]] = {
    "Module": api.ApiModule,
    "Method": api.Method,
    "Input": api.Input,
    "Limits": api.Limits,
    "Idempotency": api.Idempotency,
    "Debug cases": api.DebugCase,
    "Mocks": api.Mock,
    "Errors of mocks": MockError,
    "Expectations": api.Expect,
}


def keys(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def first_column(section: str) -> list[str]:
    return [name for cells in rows(section) for name in names(cells[0])]


@pytest.mark.parametrize("heading", sorted(TABLES))
def test_a_table_has_the_keys_of_its_model(heading: str) -> None:
    told = first_column(sections(PAGE)[heading])
    assert sorted(told) == sorted(keys(TABLES[heading]))


def test_the_headers_of_an_error_are_listed() -> None:
    text = sections(DOCS / "reference" / "workflows.md")["Errors and retries"]
    listed = text.partition("in this letter case")[2].partition("Others may hold")[0]
    assert tuple(names(listed)) == RESPONSE_HEADERS


def test_the_cases_of_a_schedule_have_a_table() -> None:
    told = first_column(sections(DOCS / "reference" / "events.md")["Debug cases of a schedule"])
    assert sorted(told) == sorted(keys(ScheduleCase))


def test_every_model_of_api_documents_is_in_a_table() -> None:
    known = {*TABLES.values()} - {MockError}
    models = {each for each in vars(api).values() if isinstance(each, type) and issubclass(each, BaseModel)}
    assert models == known


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_auth_is_documented_with_its_keys(form: str) -> None:
    told = [row for row in first_column(sections(PAGE)["Authentication"]) if row.startswith("{" + form + ":")]
    (row,) = told
    (keys_of_form,) = [each.keys for key, each in FORMS.items() if key == form]
    nested = [name for key in keys_of_form.values() for name in key.type.keys]
    assert {*keys_of_form, *nested} <= set(re.findall(r"[a-z_]+", row))


def test_the_schemes_and_keys_of_a_signature_have_tables() -> None:
    told = first_column(sections(PAGE)["Signatures"])
    assert told == [*SCHEMES, "hmac", *SIGNATURE.keys]


def test_the_formats_of_other_senders_are_valid_and_sign() -> None:
    """Each signs what its sender documents: the format is read, and its header is found in what it signs."""
    told = rows(sections(DOCS / "how-to" / "webhooks.md")["Other senders"])
    assert len(told) == 8
    for sender, keys_of_sender in told:
        (text,) = names(keys_of_sender)
        given = yaml.safe_load(text)
        form = SIGNATURE.read({"scheme": "hmac", "secret": {"env": "S"}, **given})
        assert form.declared is not None
        headers = Signer(form.declared, b"key").headers(body=b"{}", now_s=1.0, delivery="d", url="http://a/b")
        assert headers.keys() == {
            name for name in (form.declared.header, form.declared.timestamp, form.declared.id) if name
        }, sender
        assert len(HeaderReader(form.declared).signatures(headers[form.declared.header].encode())) == 1, (
            sender
        )


def test_any_and_only_existing_forms_are_documented() -> None:
    told = [re.match(r"\{?(\w+)", row) for row in first_column(sections(PAGE)["Authentication"])]
    assert [each[1] for each in told if each] == ["none", "token", "tokens", "user", "users", "any"] + [
        form for form in FORMS if form in {"signature", "jwt"}
    ]


@pytest.mark.parametrize("source", SOURCES)
def test_every_form_of_a_secret_is_documented(source: str) -> None:
    forms = " ".join(first_column(sections(PAGE)["Secrets"]))
    assert source in re.findall(r"[a-z]+", forms)


@pytest.mark.parametrize(
    ("heading", "key", "default"),
    [
        ("Limits", "body", "1MiB"),
        ("Limits", "queued", str(api.Limits().queued)),
        ("Idempotency", "ttl", "24h"),
        ("Method", "retention", "7d"),
    ],
)
def test_defaults_are_those_of_the_models(heading: str, key: str, default: str) -> None:
    (told,) = [cells[1] for cells in rows(sections(PAGE)[heading]) if names(cells[0]) == [key]]
    assert names(told) == [default]
    model: Any = TABLES[heading]
    if key not in {"header", "queued"}:
        whole = api.ApiModule.model_validate(
            {"module": "m", "auth": "none", "methods": {"a": {"workflow": "n/w"}}}
        ).methods["a"]
        stated = api.ApiModule.model_validate(
            {
                "module": "m",
                "auth": "none",
                "methods": {
                    "a": {
                        "workflow": "n/w",
                        **({key: default} if model is api.Method else {heading.lower(): {key: default}}),
                    }
                },
            }
        ).methods["a"]
        assert whole == stated


def test_unexecuted_features_are_documented() -> None:
    """A word of each feature that `apply` refuses stands in the paragraph about them."""
    section = " ".join(sections(DOCS / "reference" / "workflows.md")["Workflows"].split()).lower()
    paragraph = section[section.index("does not yet execute") :]
    words = {
        "IOG415": "grpc",
        "IOG416": "asyncapi",
        "IOG417": "a2a",
        "IOG418": "mcp",
        "IOG423": "scripts in other languages",
        "IOG439": "languages other than jq",
        "IOG440": "scripts and schemas at computed urls",
        "IOG441": "formats other than json",
    }
    for feature in FEATURES:
        assert words[feature.code] in paragraph, feature.name
    executed = words.keys() - {feature.code for feature in FEATURES}
    assert not executed, f"these are executed now: {executed}"
