"""The page `/docs`: the OpenAPI document for readers, without a script.

Called by `observability.descriptions`, and by the console for the example call of an API. Pure. Invariant:
the page says nothing that the document does not say.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from iogate.compiler.examples.schema_examples import NoExample, example_value
from iogate.gateway.pages.markup import Content, Markup, element

Json = dict[str, Any]

MAX_SHOWN: Final = 20_000
"""Characters of a schema or an example that the page shows."""
_PLACEHOLDERS: Final = {"token": "$TOKEN", "user": "$USER", "password": "$PASSWORD"}
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9]+")


def content(document: Json) -> list[Content]:
    """Return the content of the page `/docs`."""
    operations = list(_operations(document))
    groups: dict[str, list[_Operation]] = {}
    for each in operations:
        groups.setdefault(each.group, []).append(each)
    server = document["servers"][0]["url"]
    return [
        element("h1", "APIs"),
        element(
            "p",
            ["Base URL ", element("code", server), f". Revision {document['info']['version']}. "],
            element("a", "OpenAPI document", href="/openapi.json"),
            ".",
        ),
        element("nav", _contents(groups), aria_label="Contents"),
        [
            [element("h2", name, id=_anchor("group", name)), [each.section() for each in found]]
            for name, found in groups.items()
        ],
    ]


def curl_line(document: Json, path: str) -> str | None:
    """Return a command that makes an example call of an API at a path; None if there is no such path."""
    found = [each for each in _operations(document) if each.path == path]
    return next((each.curl() for each in found if each.verb == "POST"), found[0].curl() if found else None)


def _contents(groups: dict[str, list[_Operation]]) -> Markup:
    return element(
        "ul",
        [
            element(
                "li",
                element("a", name, href=f"#{_anchor('group', name)}"),
                element(
                    "ul",
                    [
                        element("li", element("a", f"{each.verb} {each.path}", href=f"#{each.anchor}"))
                        for each in found
                    ],
                ),
            )
            for name, found in groups.items()
        ],
    )


def _operations(document: Json) -> Iterator[_Operation]:
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            yield _Operation(document, path, verb.upper(), operation)


class _Operation:
    """One operation of the document."""

    def __init__(self, document: Json, path: str, verb: str, operation: Json) -> None:
        self._document = document
        self._given = operation
        self._shown_parameters: list[Json] = operation.get("parameters", [])
        self.path = path
        self.verb = verb
        self.group: str = operation["tags"][0]
        self.anchor = _anchor("operation", operation["operationId"])

    def section(self) -> Markup:
        """Return the section of the page `/docs` about the operation."""
        return element(
            "section",
            element("h3", element("code", f"{self.verb} {self.path}"), id=self.anchor),
            element("p", self._given["summary"]),
            element("pre", element("code", self.curl()), aria_label="Example call"),
            element("p", "Credentials: ", self._credentials(), class_="soft"),
            self._parameters(),
            self._body(),
            self._examples(),
            self._responses(),
            class_="panel",
        )

    def _credentials(self) -> str:
        ways = [" and ".join(way) if way else "none" for way in self._given["security"]]
        return " or ".join(ways)

    def _parameters(self) -> Content:
        rows = self._shown_parameters
        if not rows:
            return None
        return _table(
            ("Parameter", "In", "Type", "Meaning"),
            [
                (
                    element("code", row["name"]),
                    row["in"] + (", required" if row.get("required") else ""),
                    _type_of(self._resolved(_schema_of(row))),
                    row.get("description") or _described(self._resolved(_schema_of(row))),
                )
                for row in rows
            ],
        )

    def _body(self) -> Content:
        body = self._given.get("requestBody")
        if body is None:
            return None
        kinds = ", ".join(body["content"])
        schema = self._resolved(next(iter(body["content"].values()))["schema"])
        shown: Content = _collapsed("Schema of the body", _json(schema)) if schema not in ({}, True) else None
        needed = "Body, required: " if body.get("required") else "Body: "
        return [element("p", needed, element("code", kinds), class_="soft"), shown]

    def _examples(self) -> Content:
        found = [
            element("div", element("p", name, class_="soft"), element("pre", element("code", _json(value))))
            for name, value in self._bodies().items()
        ]
        return _collapsed("Examples of the body", found) if found else None

    def _bodies(self) -> Json:
        body = self._given.get("requestBody") or {"content": {}}
        named = body["content"].get("application/json", {}).get("examples", {})
        return {name: each["value"] for name, each in named.items()}

    def _responses(self) -> Markup:
        rows = []
        for status, response in self._given["responses"].items():
            found = self._resolved(response)
            rows.append((element("code", status), found["description"], ", ".join(found.get("headers", {}))))
        return _collapsed("Responses", _table(("Status", "Meaning", "Headers"), rows))

    def _credential(self, name: str) -> str:
        """Return the example header of a security scheme for `/docs`, with a shell variable as credential."""
        scheme = self._document["components"]["securitySchemes"][name]
        if scheme["type"] == "http":
            return f"Authorization: {scheme['scheme'].capitalize()} $CREDENTIALS"
        return f"{scheme['name']}: {_PLACEHOLDERS.get(name, '$CREDENTIALS')}"

    def curl(self) -> str:
        """Return a command for `/docs` that makes the call; credentials are variables of the shell."""
        options = []
        needed = self._given["security"]
        if needed and {} not in needed:
            options += [f'-H "{self._credential(name)}"' for name in needed[0]]
        url = self._document["servers"][0]["url"].rstrip("/") + self.path
        body = self._given.get("requestBody")
        if self.verb == "POST" and body is not None and (sent := self._sent_file(body["content"])):
            options += sent
        elif self.verb == "POST" and body is not None:
            kind = next(iter(body["content"]))
            if not kind.startswith("application/json"):
                options.append(f"-H {shlex.quote('Content-Type: ' + kind)}")
            value = self._example_body(body["content"][kind])
            if value is not _NONE:
                text = json.dumps(value, ensure_ascii=False)
                if not isinstance(value, dict | list):
                    options.append("-H 'Content-Type: application/json'")
                options.append(f"-d {shlex.quote(text)}")
            else:
                options.append("-d @body.json")
        elif self.verb == "POST":
            options.append("-X POST")
        query = self._example_query()
        return " ".join(["curl", *options, shlex.quote(f"{url}?{query}" if query else url)])

    def _sent_file(self, content: Json) -> list[str]:
        """Return the options that send files, or the body of any type; empty if the API takes neither."""
        if "*/*" in content:
            return ["-H 'Content-Type: application/octet-stream'", "--data-binary @FILE"]
        schema = content.get("multipart/form-data", {}).get("schema")
        fields = schema.get("properties") if isinstance(schema, dict) else None
        if not isinstance(fields, dict) or not any(map(_is_file, fields.values())):
            return []
        required = schema.get("required", ())
        options = []
        for name, held in fields.items():
            if _is_file(held):
                options.append(f"-F {shlex.quote(f'{name}=@FILE')}")
            elif name in required:
                value = self._made(held)
                text = "VALUE" if value is _NONE else value if isinstance(value, str) else json.dumps(value)
                options.append(f"-F {shlex.quote(f'{name}={text}')}")
        return options

    def _example_body(self, media: Json) -> Any:
        """Return the body to show in `/docs`: the first example, else one by its schema, or _NONE."""
        for value in self._bodies().values():
            return value
        return self._made(media["schema"])

    def _example_query(self) -> str:
        """Return the query for `/docs` of the first example, else one with the required parameters."""
        fields: dict[str, Any] = {}
        rows = [row for row in self._shown_parameters if row["in"] == "query"]
        first = next((name for row in rows for name in row.get("examples", {})), None)
        for row in rows:
            if first is not None:
                if first in row.get("examples", {}):
                    fields[row["name"]] = row["examples"][first]["value"]
            elif row.get("required"):
                value = self._made(_schema_of(row))
                fields[row["name"]] = "VALUE" if value is _NONE else value
        texts = {
            name: [each if isinstance(each, str) else json.dumps(each) for each in _several(value)]
            for name, value in fields.items()
        }
        return urlencode(texts, doseq=True, safe="/:,[]")

    def _made(self, schema: Any) -> Any:
        try:
            return example_value(self._self_contained(schema))
        except NoExample:
            return _NONE

    def _self_contained(self, schema: Any) -> Any:
        """Return a schema for `/docs` with the shared schemas, so that its references resolve."""
        shown = self._resolved(schema)
        if not isinstance(shown, dict) or "$ref" not in json.dumps(shown):
            return shown
        return {**shown, "components": {"schemas": self._document["components"]["schemas"]}}

    def _resolved(self, value: Any) -> Any:
        """Return a shared schema or response of the documented API that a reference names, else the value."""
        if isinstance(value, dict) and isinstance(reference := value.get("$ref"), str) and len(value) == 1:
            found: Any = self._document
            for step in reference.removeprefix("#/").split("/"):
                key = step.replace("~1", "/").replace("~0", "~")
                if not isinstance(found, dict) or key not in found:
                    return value
                found = found[key]
            return found
        return value


_NONE: Final = object()


def _is_file(schema: Any) -> bool:
    """Tell whether a field of a form in the docs is a file, or several."""
    if not isinstance(schema, dict):
        return False
    return schema.get("format") == "binary" or _is_file(schema.get("items"))


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _schema_of(parameter: Json) -> Any:
    if "schema" in parameter:
        return parameter["schema"]
    return next(iter(parameter["content"].values()))["schema"]


def _type_of(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any"
    if "enum" in schema:
        return " | ".join(json.dumps(each) for each in schema["enum"][:10])
    kinds = schema.get("type", "any")
    return " | ".join(map(str, kinds)) if isinstance(kinds, list) else str(kinds)


def _described(schema: Any) -> str:
    found = schema.get("description") if isinstance(schema, dict) else None
    return found if isinstance(found, str) else ""


def _json(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}\n…"


def _collapsed(title: str, shown: Content) -> Markup:
    inner = element("pre", element("code", shown)) if type(shown) is str else shown
    return element("details", element("summary", title), inner)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Content]]) -> Markup:
    return element(
        "table",
        element("thead", element("tr", [element("th", each, scope="col") for each in columns])),
        element("tbody", [element("tr", [element("td", cell) for cell in row]) for row in rows]),
    )


def _anchor(kind: str, name: str) -> str:
    return f"{kind}-{_NOT_IN_IDS.sub('-', name)}"
