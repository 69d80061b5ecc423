"""GitHub's own description of its REST API, which holds the double and its clients: nothing else passes.

The slice is of npm `@octokit/openapi` (MIT). Objects may hold only what their schema names, which it does not say.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

ANYWHERE = frozenset({304, 401, 403, 404, 429})  # statuses that the description does not repeat for each operation
UNDOCUMENTED = {("POST /repos/{owner}/{repo}/pulls/{pull_number}/comments/{comment_id}/replies", 422)}
"""What GitHub answers all the same: to somebody who has begun a review, say."""
_LONG = frozenset({"ref", "branch", "basehead", "path", "base", "head"})  # parameters that hold slashes

# What GitHub answers with null although its description has no null: the line of an outdated remark.
_NULL_IN_TRUTH = {"pull-request-review-comment": ("line", "position"), "review-comment": ("line",)}


@dataclass(frozen=True)
class Operation:
    """What may be asked at one path with one method, and what is answered."""

    method: str
    template: str
    pattern: re.Pattern[str]
    told: Mapping[str, Any]

    @property
    def name(self) -> str:
        """How it is spoken of: "GET /repos/{owner}/{repo}"."""
        return f"{self.method} {self.template}"


@cache
def description() -> dict[str, Any]:
    """Return the whole slice, made strict."""
    packed = (Path(__file__).parent / "openapi-slice.json.gz").read_bytes()
    whole: dict[str, Any] = json.loads(gzip.decompress(packed))
    for name, fields in _NULL_IN_TRUTH.items():
        for each in fields:
            whole["components"]["schemas"][name]["properties"][each]["nullable"] = True
    parts = {kind: {n: _strict(s) for n, s in named.items()} for kind, named in whole["components"].items()}
    # What is part of something else (allOf) is not closed by itself.
    parts["parts"] = {name: _strict(each, part=True) for name, each in whole["components"]["schemas"].items()}
    return {"paths": whole["paths"], "components": parts}


def _strict(schema: Any, *, part: bool = False) -> Any:
    """Return a schema of OpenAPI 3.0 as JSON Schema, with closed objects. `part` = of an allOf."""
    if isinstance(schema, list):
        return [_strict(each, part=part) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"properties", "patternProperties"}:
            made[key] = {name: _strict(each) for name, each in value.items()}
        elif key in {"enum", "example", "examples", "default", "required", "const", "discriminator"}:
            made[key] = value
        elif key == "$ref" and part:
            made[key] = value.replace("/schemas/", "/parts/")
        else:
            made[key] = _strict(value, part=key == "allOf" or (part and key in {"anyOf", "oneOf"}))
    if (made.get("properties") or "allOf" in made) and "additionalProperties" not in made and not part:
        made["unevaluatedProperties"] = False
    return _nullable(made) if made.pop("nullable", False) else made


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with null beside it: many enums of nullable fields lack it."""
    return {"anyOf": [{"type": "null"}, schema]}


@cache
def operations() -> tuple[Operation, ...]:
    """Return all operations, those with the longest fixed part first."""
    found = [
        Operation(method.upper(), template, _pattern(template), told)
        for template, methods in description()["paths"].items()
        for method, told in methods.items()
        if method in {"get", "put", "post", "patch", "delete"}
    ]
    return tuple(sorted(found, key=lambda o: -len(re.sub(r"\{\w+\}", "", o.template))))


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    made = [f"(?P<{p}>{'.+' if p in _LONG else '[^/]+'})" if n % 2 else re.escape(p) for n, p in enumerate(parts)]
    return re.compile("".join(made))


def operation(method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
    """Return what GitHub documents at that path, and the path's parameters."""
    for each in operations():
        if each.method == method and (found := each.pattern.fullmatch(path)):
            return each, found.groupdict()
    return None


def asked_wrongly(asked: Operation, query: str, body: Any) -> list[str]:
    """Return what is wrong with a request's query and body (None = none)."""
    wrong = []
    known = {p["name"]: p for p in _parameters(asked) if p["in"] == "query"}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            wrong.append(f"{asked.name}: the query has {name!r}, which is not documented")
        elif choice := known[name].get("schema", {}).get("enum"):
            wrong += [f"{asked.name}: {name}={value!r} is none of {choice}"] if value not in choice else []
    schema = _schema(asked.told.get("requestBody"))
    needed = _resolved(asked.told.get("requestBody") or {}).get("required", False)
    if body is None:
        return wrong + ([f"{asked.name}: the body is missing"] if needed else [])
    if schema is None:
        return [*wrong, f"{asked.name}: a body is sent where none is documented"] if body else wrong
    return wrong + _misfits(f"{asked.name}: the body", schema, body)


def answered_wrongly(asked: Operation, status: int, body: Any) -> list[str]:
    """Return what is wrong with an answer."""
    told = asked.told["responses"].get(str(status))
    if told is None:
        known = status in ANYWHERE or status >= 500 or (asked.name, status) in UNDOCUMENTED
        return [] if known else [f"{asked.name}: status {status} is not documented"]
    schema = _schema(told)
    if schema is None:
        return (
            [] if body is None or status >= 300 else [f"{asked.name}: {status} has a body, which is not documented"]
        )
    if body is None:
        return [f"{asked.name}: {status} lacks its body"]
    return _misfits(f"{asked.name}: {status}", schema, body)


def _parameters(asked: Operation) -> list[dict[str, Any]]:
    return [_resolved(p) for p in asked.told.get("parameters", ())]


def _resolved(told: Any) -> Any:
    """Return what a reference among parameters and answers points to."""
    if isinstance(told, dict) and "$ref" in told:
        _, _, kind, name = told["$ref"].split("/")
        return description()["components"][kind][name]
    return told


def _schema(told: Any) -> Any:
    content = (_resolved(told) or {}).get("content", {})
    return content.get("application/json", {}).get("schema")


_validators: dict[str, Draft202012Validator] = {}
_seen: set[bytes] = set()


def _misfits(where: str, schema: Any, value: Any) -> list[str]:
    """Return what does not fit. What fitted once is not looked at again: lists repeat themselves."""
    if isinstance(value, list) and schema.get("type") == "array":
        return [wrong for n, each in enumerate(value) for wrong in _misfits(f"{where}[{n}]", schema["items"], each)]
    key = json.dumps(schema, sort_keys=True)
    mark = blake2b(f"{key} {json.dumps(value, sort_keys=True)}".encode(), digest_size=16).digest()
    if mark in _seen:
        return []
    if key not in _validators:
        whole = {"components": description()["components"], **_strict(schema)}
        _validators[key] = Draft202012Validator(whole)
    wrong = [_told(where, error) for error in _validators[key].iter_errors(value)]
    if not wrong:
        _seen.add(mark)
    return wrong


def _told(where: str, error: Any) -> str:
    deepest = best_match([error]) or error
    while deepest.context:
        deepest = best_match(deepest.context)
    at = "/".join(str(step) for step in deepest.absolute_path)
    return f"{where}: {at or '.'}: {deepest.message[:300]}"
