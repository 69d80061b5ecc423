"""Holds every request and answer of a Sego server to openapi.yaml: what is not named there is told as wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import yaml
from jsonschema import Draft202012Validator

from claudetm.testing import sego

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILE = Path(sego.__file__).parent / "openapi.yaml"
METHODS = ("get", "post", "patch")
_HEADERS = {"accept", "accept-encoding", "authorization", "cache-control", "connection", "content-length"}
_HEADERS |= {"content-type", "host", "user-agent"}


@cache
def document() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and operation, with the parameters of its path."""
    for path, item in document()["paths"].items():
        for method in METHODS:
            if method in item:
                told = item[method]
                yield (
                    method.upper(),
                    path,
                    {**told, "parameters": [*item.get("parameters", []), *told.get("parameters", [])]},
                )


def operation(method: str, path: str) -> dict[str, Any] | None:
    for of, template, told in operations():
        if of == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return told
    return None


def resolved(told: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in told:
        found: Any = document()
        for step in told["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        told = found
    return told


def closed(schema: Any) -> Any:
    """Return a schema whose objects hold only what it names."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {k: closed(v) for k, v in schema.items()}
    return {**made, "unevaluatedProperties": False} if "properties" in made and "type" in made else made


@cache
def _components() -> dict[str, Any]:
    schemas = closed(document()["components"]["schemas"])
    # Part of something else (allOf): it is the whole that is closed.
    schemas["Answer"].pop("unevaluatedProperties")
    return {"schemas": schemas}


def misfits(where: str, schema: Any, value: Any) -> list[str]:
    closing = schema
    if "allOf" in schema:
        closing = {**schema, "unevaluatedProperties": False}
    elif "$ref" in schema or "properties" in schema:
        closing = {"allOf": [schema], "unevaluatedProperties": False}
    found = Draft202012Validator({**closing, "components": _components()}).iter_errors(value)
    return [f"{where}: {'/'.join(map(str, e.absolute_path)) or '.'}: {e.message[:300]}" for e in found]


def asked_wrongly(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> list[str]:
    """Return what is wrong with a request."""
    told = operation(method, path)
    if told is None:
        return [f"{method} {path} is no operation"]
    where = f"{method} {path}"
    parameters = {(p["in"], p["name"].lower()): p for p in map(resolved, told["parameters"])}
    wrong = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        known = parameters.get(("query", name.lower()))
        if known is None or known["name"] != name:
            wrong.append(f"{where}: the query has {name!r}")
        else:
            whole = resolved(known["schema"])
            wrong += misfits(f"{where}: {name}", whole, int(value) if whole.get("type") == "integer" else value)
    wrong += [f"{where}: the header {h}" for h in headers if h not in _HEADERS and ("header", h) not in parameters]
    if not re.fullmatch(r"Bearer \S+", headers.get("authorization", "")):
        wrong.append(f"{where}: no bearer key")
    wanted = told.get("requestBody")
    if wanted is None:
        return [*wrong, f"{where}: a body"] if body else wrong
    return wrong + misfits(f"{where}: the body", wanted["content"]["application/json"]["schema"], json.loads(body))


def answered_wrongly(method: str, path: str, status: int, kind: str, body: bytes) -> list[str]:
    """Return what is wrong with an answer; of a stream, nothing but its type is looked at."""
    told = operation(method, path)
    if told is None:
        return []
    answer = told["responses"].get(str(status)) or (told["responses"]["default"] if status >= 400 else None)
    where = f"{method} {path} {status}"
    if answer is None:
        return [f"{where} is not named"]
    content = resolved(answer).get("content")
    if content is None:
        return [f"{where}: a body"] if body else []
    plain = kind.partition(";")[0]
    if plain not in content:
        return [f"{where}: {kind}"]
    return misfits(where, content[plain]["schema"], json.loads(body)) if plain == "application/json" else []


class Held:
    """An application whose requests and answers are held to the contract; `wrong` is what was wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.seen: set[str] = set()  # operations

    def __call__(self, app: ASGIApp) -> ASGIApp:
        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            method, path = scope["method"], scope["raw_path"].decode()
            if unquote(path).startswith("/sandbox") or path == "/":
                await app(scope, receive, send)
                return
            if told := operation(method, path):
                self.seen.add(told["operationId"])
            asked, answered, kind = bytearray(), bytearray(), ""
            status = 0

            async def receiving() -> Message:
                message = await receive()
                asked.extend(message.get("body", b""))
                return message

            async def sending(message: Message) -> None:
                nonlocal kind, status
                if message["type"] == "http.response.start":
                    kind = "".join(v.decode() for k, v in message["headers"] if k == b"content-type")
                    status = message["status"]
                elif "event-stream" not in kind:
                    answered.extend(message.get("body", b""))
                await send(message)

            await app(scope, receiving, sending)
            headers = {k.decode().lower(): v.decode() for k, v in scope["headers"]}
            if status not in {401, 422}:  # a test may ask wrongly on purpose
                self.wrong += asked_wrongly(method, path, scope["query_string"].decode(), headers, bytes(asked))
            self.wrong += answered_wrongly(method, path, status, kind, bytes(answered))

        return held
