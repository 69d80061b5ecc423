"""A GitHub of our own: REST, GraphQL, git and Actions on one loopback port, and people who do things there.

    with Double(folder) as github:
        github.create_repository("acme/widgets", {"app.py": "…"}, workflows={"ci": "python3 app.py"})
        token = github.token("octo")

`close` (and leaving the block) raises what was not GitHub's: `state.violations`.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

from github_double import git_http, graphql, moves, rest, rules
from github_double.ci import Ci
from github_double.faults import Faults, Instead, Lost, Truncated
from github_double.git_http import GitHttp, GitRequest, RefUpdate
from github_double.people import People
from github_double.serving import Serving, listening
from github_double.state import Repository, State, Token

API = "/api/v3"
GRAPHQL = "/api/graphql"
_JSON = {"content-type": "application/json; charset=utf-8"}
_LOGS = "/actions-results/"
_broken: ContextVar[list[str]] = ContextVar("broken")  # of a git request: holds something once it is to break off
_NEVER_SENT = 599
Scope = MutableMapping[str, Any]
Send = Callable[[Scope], Awaitable[None]]


@dataclass(frozen=True)
class Sent:
    """A request as the double got it, and what it answered (0 = nothing: the connection broke)."""

    method: str
    path: str  # within the API: /repos/…; "graphql"; of a log's address
    query: Mapping[str, str]
    operation: str  # GraphQL's operation name
    fields: tuple[str, ...]  # GraphQL's fields at the top
    write: bool
    authorised: bool  # whether it carried an Authorization header
    body: Any
    resource: str  # core, graphql, or "" for what is not counted
    cost: int  # points of that resource that it took
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """How faults name it."""
        if self.resource == "graphql":
            return tuple(f"graphql {name}" for name in (self.operation, *self.fields))
        return (f"{self.method} {self.path}",)


class Double(People):
    """The whole of it, in a folder."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = State(folder / "repositories", clock)
        super().__init__(folder, state, Ci(state, folder / "checkouts"))
        self.faults = Faults()
        self.requests: list[Sent] = []
        self._logs: dict[str, str] = {}
        self._git = GitHttp(self.state.folder, self._may, self._pushed, self._git_fault)
        self._pushers: dict[tuple[str, str], list[str]] = {}

    def __enter__(self) -> Self:
        sockets = listening(), listening()
        self.state.url, self._logs_url = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in sockets)
        self._serving = Serving(self._app, *sockets)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._serving.stop()
        self.ci.stop()
        if kind is None:
            self.assert_lawful()

    def assert_lawful(self) -> None:
        """Fail where the double or its client did what GitHub does not know."""
        assert not self.state.violations, "\n".join(self.state.violations)

    # Addresses

    @property
    def api(self) -> str:
        """REST's address."""
        return f"{self.state.url}{API}"

    def url(self, repository: str = "") -> str:
        """Return git's address of a repository."""
        return f"{self.state.url}/{repository or self.main}.git"

    def path(self, repository: str = "") -> Path:
        """Return the bare repository."""
        return self.repository(repository).git

    # What was asked

    def asked(self, what: str = "*") -> list[Sent]:
        """Return the requests of a name, as faults name them."""
        return [r for r in self.requests if any(fnmatchcase(name, what) for name in r.names)]

    def spent(self, resource: str = "") -> int:
        """Return how much of the quota was taken."""
        return sum(r.cost for r in self.requests if resource in {"", r.resource})

    # Git

    def _may(self, token: str, owner: str, name: str, write: bool) -> int:
        with self.state.lock:
            known, held = self.state.repository(f"{owner}/{name}"), self.state.tokens.get(token)
            if token and held is None:
                return 401
            if known is None or not rules.sees(held, known):
                return 404 if held else 401
            if write and known.archived:
                return 403
            if held is None:
                return 401 if write else 200
            needed: Literal["read", "write"] = "write" if write else "read"
            if not rules.granted(held, known, "contents", needed):
                return 403
            return 200 if not write or self._pushable(known, held.login) else 403

    def _pushable(self, repository: Repository, login: str) -> bool:
        if rules.at_least(repository, login, "write"):
            return True
        # maintainers of the upstream may push to the heads of pull requests that allow it
        return any(
            p.maintainer_can_modify
            and p.head_repository == repository.full_name
            and rules.at_least(up, login, "write")
            for up in self.state.repositories.values()
            for p in up.pulls.values()
            if p.state == "open"
        )

    def _git_fault(self, request: GitRequest) -> git_http.Fault:
        if request.service == "push":
            self._pushers.setdefault((request.owner.casefold(), request.name.casefold()), []).append(request.token)
        effect = self.faults.befalls([f"git {request.service}"])
        if effect is None or isinstance(effect, Truncated):
            return None
        if isinstance(effect, Instead):
            return effect.status
        if effect is Lost.AFTER:
            return git_http.Lost.AFTER
        _broken.get().append("before")
        return _NEVER_SENT

    def _pushed(self, owner: str, name: str, updates: Sequence[RefUpdate]) -> Awaitable[None]:
        return asyncio.to_thread(self._hear_push, owner, name, updates)

    def _hear_push(self, owner: str, name: str, updates: Sequence[RefUpdate]) -> None:
        with self.state.lock:
            known = self.repository(f"{owner}/{name}")
            token = self._pushers[owner.casefold(), name.casefold()].pop()
            self.faults.writing(self.state)
            for update in updates:
                login = self.state.tokens[token].login
                moves.ref_moved(self.state, known, update.ref, update.old, update.new, login)

    # The application

    async def _app(self, scope: Scope, receive: Callable[[], Any], send: Send) -> None:
        path = scope["path"]
        if GitHttp.serves(path):
            await self._git_answered(scope, receive, send)
            return
        body = await _whole(receive)
        headers = {k.decode().lower(): v.decode() for k, v in scope["headers"]}
        if path.startswith(_LOGS):
            reply: _Reply | None = self._log(scope, headers)
        else:
            reply = await asyncio.to_thread(self._watched, scope, headers, body)
        if reply is None:
            self._serving.break_off(scope["client"])
        else:
            await _send(send, reply)

    async def _git_answered(self, scope: Scope, receive: Callable[[], Any], send: Send) -> None:
        broken: list[str] = []
        _broken.set(broken)

        async def sent(message: Scope) -> None:
            if not broken:
                await send(message)
            elif message["type"] == "http.response.start":
                # Without any answer git's curl tries again on a new connection, and nothing is lost.
                headers = [(b"content-length", b"9999")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})

        await self._git(scope, receive, sent)

    def _log(self, scope: Scope, headers: Mapping[str, str]) -> _Reply:
        """Serve a job's log from where GitHub keeps them, which refuses a token."""
        name = scope["path"].split("/")[2]
        refused = "authorization" in headers
        status = 401 if refused else 200 if name in self._logs else 404
        asked = _Asked(scope, headers, None)
        asked.resource = ""
        self._note(asked, status, 0)
        if refused:
            self.state.violations.append("a log was fetched with the token, which goes to another company's servers")
        text = self._logs.get(name, "") if status == 200 else "<Error><Code>InvalidAuthenticationInfo</Code></Error>"
        return _Reply(status, {"content-type": "text/plain"}, text.encode())

    def _watched(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> _Reply | None:
        """Answer, and let a mistake of the double's own be seen in the test."""
        try:
            return self._answered(scope, headers, body)
        except Exception:  # noqa: BLE001 - the server would swallow it
            self.state.violations.append(traceback.format_exc())
            return _Reply(500, _JSON, b'{"message": "the double made a mistake"}')

    def _answered(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> _Reply | None:
        """Answer a request of the API; None = the connection breaks."""
        with self.state.lock:
            try:
                payload = json.loads(body) if body else None
            except ValueError:
                return _Reply(400, _JSON, b'{"message": "Problems parsing JSON"}')
            asked = _Asked(scope, headers, payload)
            asked.path = self._named(asked.path)
            effect = self.faults.befalls(asked.names)
            if effect is Lost.BEFORE:
                self._note(asked, 0, 0)
                return None
            if isinstance(effect, Instead):
                self._note(asked, effect.status, 0)
                return _Reply(effect.status, effect.headers, effect.body.encode())
            before = self._used(asked)
            reply = self._routed(asked)
            self._note(asked, 0 if effect is Lost.AFTER else reply.status, self._used(asked) - before)
            if asked.write:
                self.ticked()
            reply.headers = {"date": formatdate(self.state.clock(), usegmt=True)} | reply.headers
            reply.cut = isinstance(effect, Truncated)
            return None if effect is Lost.AFTER else reply

    def _named(self, path: str) -> str:
        """Return the path by the repository's name, where it is by its number: as a renamed one's are sent on."""
        found = re.fullmatch(r"/repositories/(\d+)(/.*)?", path)
        known = (r for r in self.state.repositories.values() if found and r.id == int(found[1]))
        return next((f"/repos/{r.full_name}{(found and found[2]) or ''}" for r in known), path)

    def _routed(self, asked: _Asked) -> _Reply:
        held, refused = self._holder(asked.headers)
        if refused:
            return _Reply(401, _JSON, b'{"message": "Bad credentials", "status": "401"}')
        if asked.write:
            self.faults.writing(self.state)
        state = self.state if asked.write else self.faults.reading(asked.names, self.state)
        if asked.graphql:
            status, told = graphql.execute(state, held, asked.body or {})
            quota = self.state.quota(held.login if held else "", "graphql")
            limits = {"limit": quota.limit, "remaining": quota.remaining, "used": quota.used}
            limits |= {"reset": int(quota.resets_at)}
            lines = {f"x-ratelimit-{name}": str(value) for name, value in limits.items()}
            return _Reply(status, _JSON | lines | {"x-ratelimit-resource": "graphql"}, json.dumps(told).encode())
        call = rest.Call(
            state, self.ci, asked.method, asked.path, asked.query, asked.body, held, {}, self._logs, self._logs_url
        )
        answer = rest.answered(call, asked.raw_query, asked.headers.get("if-none-match", ""))
        if asked.write and asked.path.endswith("/protection"):  # git is to hold pushes to it
            for known in state.repositories.values():
                self.guard(known)
        text = b"" if answer.body is None else json.dumps(answer.body).encode()
        return _Reply(answer.status, _JSON | answer.headers, text)

    def _holder(self, headers: Mapping[str, str]) -> tuple[Token | None, bool]:
        """Return whose token it is, and whether it is to be refused."""
        kind, _, value = headers.get("authorization", "").partition(" ")
        if not kind:
            return None, False
        held = self.state.tokens.get(value.strip()) if kind.casefold() in {"token", "bearer"} else None
        return held, held is None

    def _used(self, asked: _Asked) -> int:
        held, _ = self._holder(asked.headers)
        return self.state.quota(held.login if held else "", asked.resource).used

    def _note(self, asked: _Asked, status: int, cost: int) -> None:
        self.requests.append(
            Sent(
                asked.method,
                asked.path,
                asked.query,
                asked.operation,
                asked.fields,
                asked.write,
                "authorization" in asked.headers,
                asked.body,
                asked.resource,
                cost,
                status,
                asked.headers,
            )
        )


@dataclass
class _Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    cut: bool = False  # the connection breaks in the middle


class _Asked:
    """A request of the API, taken apart."""

    def __init__(self, scope: Scope, headers: Mapping[str, str], body: Any) -> None:
        self.method: str = scope["method"]
        self.headers = headers
        self.body = body
        self.raw_query = scope["query_string"].decode()
        self.query = dict(parse_qsl(self.raw_query, keep_blank_values=True))
        self.graphql = scope["path"].rstrip("/") == GRAPHQL
        self.path = "graphql" if self.graphql else scope["path"].removeprefix(API)
        self.resource = "graphql" if self.graphql else "core"
        payload = body if self.graphql and isinstance(body, dict) else {}
        self.operation = graphql.operation_name(payload)
        self.fields = graphql.root_fields(payload)
        self.write = graphql.is_write(payload) if self.graphql else self.method != "GET"

    @property
    def names(self) -> list[str]:
        """How faults name it."""
        given = (self.operation, *self.fields)
        return [f"graphql {name}" for name in given] if self.graphql else [f"{self.method} {self.path}"]


async def _whole(receive: Callable[[], Any]) -> bytes:
    found = bytearray()
    while True:
        message = await receive()
        found += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return bytes(found)


async def _send(send: Send, reply: _Reply) -> None:
    lines = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    empty = reply.status in {204, 304}
    if not empty:
        lines.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": lines})
    if reply.cut:  # the server breaks the connection when no more comes
        await send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
        return
    await send({"type": "http.response.body", "body": b"" if empty else reply.body})
