"""Serves bare repositories by git's smart HTTP, as GitHub does: `/<owner>/<name>.git/…` through `git http-backend`.

A plain ASGI application. Who may do what, what a push sets off and what goes wrong are told by the double around it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import inspect
import os
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ABSENT: Final = "0" * 40
USER: Final = "x-access-token"
_PATH: Final = re.compile(
    r"/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+?)(?:\.git)?/(?P<service>info/refs|git-upload-pack|git-receive-pack)"
)
_REFUSALS: Final[Mapping[int, str]] = {
    401: "Invalid username or token. Password authentication is not supported for Git operations.\n",
    403: "Permission to {owner}/{name}.git denied to octo.\n",
    404: "Repository not found.\n",
}


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """What one push did to one ref: `old` and `new` are commit ids, "" for absent."""

    ref: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class GitRequest:
    """One request of a git client, before it is served."""

    owner: str
    name: str
    service: str  # refs: what is there is listed (v2: can be asked for) | fetch | push
    write: bool  # whether it belongs to a push
    token: str  # "" for none


class Lost(Enum):
    """What becomes of an answer that never arrives."""

    BEFORE = "the connection hangs, and nothing is done"
    AFTER = "it is done, and the connection breaks"


Fault = Lost | int | None
"""An HTTP status is answered instead, and nothing is done; None: all is well."""
May = Callable[[str, str, str, bool], int]
"""(token, owner, name, write) -> 200, 401, 403, 404 or another status."""
Pushed = Callable[[str, str, Sequence[RefUpdate]], Awaitable[None] | None]
"""(owner, name, updates): called after each push that moved something, before it is answered."""


def _no_fault(_request: GitRequest) -> Fault:
    return None


def _unheard(_owner: str, _name: str, _updates: Sequence[RefUpdate]) -> None:
    pass


class GitHttp:
    """The application. `folder` holds `<owner>/<name>.git`; `pushed` and `fault` can be set at any time."""

    def __init__(
        self,
        folder: Path,
        may: May,
        pushed: Pushed = _unheard,
        fault: Callable[[GitRequest], Fault] = _no_fault,
    ) -> None:
        self.folder = folder
        self.may = may
        self.pushed = pushed
        self.fault = fault
        self.requests: list[GitRequest] = []

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of git's."""
        return _PATH.fullmatch(path) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", scope["type"]
        found = _PATH.fullmatch(scope["path"])
        if found is None:
            return await _answer(send, 404, b"Not Found\n")
        body = await _whole(receive)
        headers = {k.decode().lower(): v.decode() for k, v in scope["headers"]}
        query = scope.get("query_string", b"").decode()
        write = found["service"] == "git-receive-pack" or "service=git-receive-pack" in query
        kinds = {"info/refs": "refs", "git-upload-pack": "fetch", "git-receive-pack": "push"}
        token = _token(headers.get("authorization", ""))
        request = GitRequest(found["owner"], found["name"], kinds[found["service"]], write, token or "")
        self.requests.append(request)
        fault = self.fault(request)
        if fault is Lost.BEFORE:
            return await _gone(receive)
        if isinstance(fault, int):
            return await _answer(send, fault, b"Something went wrong\n")
        if refused := self._refusal(request, known=token is not None):
            said = _REFUSALS.get(refused, "Refused\n").format(owner=request.owner, name=request.name)
            return await _answer(send, refused, said.encode())
        status, content, answer = await self._served(request, scope, headers, body)
        if fault is Lost.AFTER:
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"9999")]})
            return None  # without a body: the server breaks the connection
        return await _answer(send, status, answer, content)

    def _refusal(self, request: GitRequest, *, known: bool) -> int:
        """Return the status that a request is refused with, or 0."""
        if not known:
            return 401
        status = self.may(request.token, request.owner, request.name, request.write)
        if status == 200 and not (self.folder / request.owner / f"{request.name}.git").is_dir():
            return 404
        return 0 if status == 200 else status

    async def _served(
        self, request: GitRequest, scope: Scope, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Have git answer. Return the status, the content's type and the content."""
        repository = self.folder / request.owner / f"{request.name}.git"
        service = _PATH.fullmatch(scope["path"])
        assert service is not None
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            **_settings(repository),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(self.folder),
            "PATH_INFO": f"/{request.owner}/{request.name}.git/{service['service']}",
            "QUERY_STRING": scope.get("query_string", b"").decode(),
            "REQUEST_METHOD": scope["method"],
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
            "GIT_PROTOCOL": headers.get("git-protocol", ""),
            "REMOTE_USER": USER,
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = await asyncio.to_thread(
            subprocess.run, ["git", "http-backend"], env=environment, input=body, capture_output=True, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        if request.service == "push" and (moved := await asyncio.to_thread(_moved, repository, body)):
            heard = self.pushed(request.owner, request.name, moved)
            if inspect.isawaitable(heard):
                await heard
        return int(fields.get("Status", "200").split()[0]), fields.get("Content-Type", "text/plain"), content


def _settings(repository: Path) -> Mapping[str, str]:
    """Return the variables that make git serve as GitHub does."""
    settings = {
        "safe.directory": str(repository),
        "http.receivepack": "true",
        "receive.hideRefs": "refs/pull",
        "receive.autogc": "false",
        "uploadpack.allowAnySHA1InWant": "true",
        "uploadpack.allowFilter": "true",
    }
    keys = {f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(settings)}
    values = {f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(settings.values())}
    return {"GIT_CONFIG_COUNT": str(len(settings)), **keys, **values}


def _token(authorization: str) -> str | None:
    """Return the token of a Basic authorization, "" for no authorization, None for one that is none of ours."""
    if not authorization:
        return ""
    kind, _, text = authorization.partition(" ")
    try:
        user, _, token = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return token if kind.lower() == "basic" and user == USER else None


def _moved(repository: Path, body: bytes) -> Sequence[RefUpdate]:
    """Return the updates that a push asked for and that stand now."""
    listed = subprocess.run(
        ["git", f"--git-dir={repository}", "for-each-ref", "--format=%(refname) %(objectname)"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
    )
    there = dict(line.split(" ") for line in listed.stdout.splitlines())
    asked = (RefUpdate(ref, old.replace(ABSENT, ""), new.replace(ABSENT, "")) for old, new, ref in _commands(body))
    return [update for update in asked if there.get(update.ref, "") == update.new]


def _commands(body: bytes) -> Iterator[tuple[str, str, str]]:
    """Yield (old, new, ref) of a push's commands: pkt-lines up to the flush."""
    at = 0
    while size := int(body[at : at + 4] or b"0", 16):
        old, new, ref = body[at + 4 : at + size].partition(b"\0")[0].decode().strip().split(" ", 2)
        yield old, new, ref
        at += size


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(body)


async def _gone(receive: Receive) -> None:
    """Wait until the client has given up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, content: bytes, kind: str = "text/plain") -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="GitHub"'))
    headers.append((b"cache-control", b"no-cache"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
