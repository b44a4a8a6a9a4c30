"""The OpenAPI document as a page for people: one file, no scripts or styles from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from dolgo.api.call import Answer

SERVER = "http://127.0.0.1:8080"  # in curl lines; the page puts in where it came from
FILES = ("docs.css", "docs.js", "docs.html")
NOTHING_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

Json = dict[str, Any]


def page(document: Json) -> Answer:
    """The page, and headers that keep a browser from loading or running anything else for it."""
    style, script, frame = (files(__package__).joinpath("static", name).read_text("utf-8") for name in FILES)
    html = Template(frame).substitute(
        version=escape(document["info"]["version"]),
        style=style,
        script=script,
        intro=_text(document["info"]["description"]),
        index="\n".join(f'<li><a href="#{id}">{_name(method, path)}</a></li>' for id, method, path, _ in _operations(document)),
        operations="\n".join(_article(document, *operation) for operation in _operations(document)),
        problems="\n".join(_problem(slug, example) for slug, example in document["components"]["examples"].items()),
    )
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; {NOTHING_ELSE}"
    return Answer(200, html.encode(), ((b"content-security-policy", policy.encode()),), b"text/html; charset=utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _operations(document: Json) -> Iterator[tuple[str, str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], method.upper(), path, operation


def _article(document: Json, id: str, method: str, path: str, operation: Json) -> str:
    parts = [f'<article id="{id}"><h2>{_name(method, path)}</h2>', _text(operation["summary"])]
    parts.append(_text(operation.get("description", "")))
    parts += [_copyable(line) for line in _curl(method, path, operation)]
    rows = [(p["name"], _kind(p["schema"], {}), p["in"], p["description"]) for p in operation["parameters"]]
    parts.append(_table("Parameters", ("name", "kind", "in", ""), rows))
    parts.append(_members(document, operation))
    parts += [_reply(status, reply) for status, reply in operation["responses"].items() if int(status) < 400]
    parts.append(_refusals(operation))
    return "\n".join(filter(None, parts)) + "</article>"


def _curl(method: str, path: str, operation: Json) -> Iterator[str]:
    url = SERVER + re.sub(r"{(\w+)}", lambda found: found[1].upper(), path)
    examples = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples")
    if not examples:
        yield f"curl {'' if method == 'GET' else f'-X {method} '}{url}"
    for example in (examples or {}).values():
        yield f"curl {'' if method == 'POST' else f'-X {method} '}{url} -d {shlex.quote(json.dumps(example['value']))}"


def _members(document: Json, operation: Json) -> str:
    """The members of the body, each on a line."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return ""
    schemas = document["components"]["schemas"]
    schema = schemas[_named(schema)]
    required = schema["required"]
    rows = [
        (name, _kind(member, schemas), "required" if name in required else "", member.get("description", ""))
        for name, member in schema["properties"].items()
    ]
    return _table("Body", ("member", "kind", "", ""), rows)


def _reply(status: str, reply: Json) -> str:
    parts = [f"<h3><code>{status}</code> {_inline(reply['description'])}</h3>"]
    for content in reply.get("content", {}).values():
        for name, example in content.get("examples", {}).items():
            parts.append(f"{escape(name)}:<pre><code>{_json(example['value'])}</code></pre>")
    return "\n".join(parts)


def _refusals(operation: Json) -> str:
    """Each kind of refusal, with a link to where it is explained."""
    refusals = [
        f'<a href="#{slug}"><code>{status}</code> {escape(slug)}</a>'
        for status, reply in sorted(operation["responses"].items())
        for slug in reply.get("content", {}).get("application/problem+json", {}).get("examples", {})
    ]
    return f"<h3>Refusals</h3><p>{' · '.join(refusals)}</p>"


def _problem(slug: str, example: Json) -> str:
    value = example["value"]
    title = f'<h3 id="{slug}"><code>{value["status"]}</code> {escape(slug)}</h3>'
    return f"{title}{_text(example['summary'])}<pre><code>{_json(value)}</code></pre>"


def _named(schema: Json) -> str:
    """The name of the schema that this one refers to."""
    return str(schema["$ref"].rpartition("/")[2])


def _kind(schema: Json, schemas: Json) -> str:
    """A schema in a few words. One that it refers to is named, unless that is a choice of values."""
    if "anyOf" in schema:
        return " or ".join(_kind(option, schemas) for option in schema["anyOf"])
    if "$ref" in schema:
        referred = schemas[_named(schema)]
        return _kind(referred, schemas) if "enum" in referred else _named(schema)
    if "enum" in schema:
        return ", ".join("null" if value is None else str(value) for value in schema["enum"])
    kind = schema.get("format") or schema.get("type", "any JSON")
    low = schema.get("minimum", schema.get("minLength", schema.get("minItems")))
    high = schema.get("maximum", schema.get("maxLength", schema.get("maxItems")))
    if kind == "array":
        return f"array of at most {high:,}: {_kind(schema['items'], schemas)}"
    return f"{kind}, {int(low or 0):,} to {int(high):,}" if high is not None else str(kind)


def _table(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [f"<tr><td><code>{escape(name)}</code></td>{_cells(rest)}</tr>" for name, *rest in rows]
    if not lines:
        return ""
    return f"<h3>{title}</h3><table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{''.join(lines)}</table>"


def _cells(texts: Iterable[str]) -> str:
    return "".join(f"<td>{_inline(text)}</td>" for text in texts)


def _name(method: str, path: str) -> str:
    return f'<code><span class="method">{method}</span>{escape(path)}</code>'


def _copyable(line: str) -> str:
    return f'<div class="copy"><pre><code>{escape(line)}</code></pre></div>'


def _json(value: Any) -> str:
    return escape(json.dumps(value, indent=2))


def _text(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part)


def _inline(text: str) -> str:
    """Words in backquotes are code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False))
