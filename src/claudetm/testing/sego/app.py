"""The sandbox over HTTP: the operations of openapi.yaml, and a few for whoever plays the people (below /sandbox)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from claudetm.testing.sego.state import Item, Moved, Sandbox

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_API: Final = "/api/mcp"
_LARGEST: Final = 1_000_000  # bytes of a request
_STATUSES: Final = {
    "tasks": {"BACKLOG", "IN_PROGRESS", "IN_REVIEW", "DONE"},
    "requests": {"OPEN", "IN_PROGRESS", "ANALYSED"},
    "conversations": {"WAITING", "IN_PROGRESS", "ANSWERED"},
}


def app(sandbox: Sandbox, closing: asyncio.Event) -> Starlette:
    """Return the application. `closing` ends the streams."""
    api = _Api(sandbox, closing)
    routes = [
        Route("/", api.index),
        Route("/sandbox/tasks", api.new_task, methods=["POST"]),
        Route("/sandbox/client-requests", api.new_request, methods=["POST"]),
        Route("/sandbox/messages", api.new_message, methods=["POST"]),
        Route(f"{_API}/me", api.me),
        Route(f"{_API}/projects", api.list_projects),
        Route(f"{_API}/projects/{{id}}", api.project),
        Route(f"{_API}/projects/{{id}}/auto-task", api.auto_task, methods=["PATCH"]),
        Route(f"{_API}/projects/{{id}}/events", api.stream),
        Route(f"{_API}/projects/{{id}}/client-requests", api.list_requests),
        Route(f"{_API}/projects/{{id}}/conversations", api.list_conversations),
        Route(f"{_API}/tasks", api.list_tasks),
        Route(f"{_API}/tasks/{{id}}/comments", api.list_comments),
        Route(f"{_API}/tasks/{{id}}/comments", api.comment, methods=["POST"]),
        Route(f"{_API}/tasks/{{id}}/progress", api.tell_progress, methods=["POST"]),
        Route(f"{_API}/client-requests/{{id}}/analysis", api.analysis, methods=["POST"]),
        Route(f"{_API}/conversations/{{id}}/messages", api.list_messages),
        Route(f"{_API}/conversations/{{id}}/messages", api.reply, methods=["POST"]),
        *_items("tasks", api, "tasks"),
        *_items("client-requests", api, "requests"),
        *_items("conversations", api, "conversations"),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Door, sandbox=sandbox)],
        exception_handlers={HTTPException: _failed, Moved: _moved},
    )


def _items(path: str, api: _Api, kind: str) -> list[Route]:
    """Return the reading and the moving of one kind of thing."""

    async def read(request: Request) -> Response:
        return JSONResponse(_there(getattr(api.sandbox, kind), _id(request)))

    async def move(request: Request) -> Response:
        item = _there(getattr(api.sandbox, kind), _id(request))
        body = await _body(request)
        for name in ("status", "expectedStatus"):
            if body.get(name, "BACKLOG" if name != "status" else None) not in {*_STATUSES[kind], "BACKLOG"}:
                raise HTTPException(422, f"{name} is none of {', '.join(sorted(_STATUSES[kind]))}")
        return JSONResponse(api.sandbox.move(item, body))

    return [Route(f"{_API}/{path}/{{id}}", read), Route(f"{_API}/{path}/{{id}}", move, methods=["PATCH"])]


class _Door:
    """Hears whoever has the key."""

    def __init__(self, app: ASGIApp, sandbox: Sandbox) -> None:
        self._app = app
        self._sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        self._sandbox.asked.append((request.method, request.url.path, request.headers.get("last-event-id", "")))
        given = request.headers.get("authorization", "")
        if compare_digest(given.encode(), f"Bearer {self._sandbox.key}".encode()):
            # The path as it was sent: an id may hold a slash.
            await self._app({**scope, "path": scope["raw_path"].decode()}, receive, send)
        else:
            await _error(401, "the key is not known")(scope, receive, send)


class _Api:
    def __init__(self, sandbox: Sandbox, closing: asyncio.Event) -> None:
        self.sandbox = sandbox
        self._closing = closing

    # --- for people ------------------------------------------------------------------------------------------

    async def index(self, request: Request) -> Response:  # noqa: ARG002 - a route's form
        """Show everything."""
        box = self.sandbox
        tasks = [{**t, "comments": box.comments[id_], "progress": box.progress[id_]} for id_, t in box.tasks.items()]
        talks = [{**c, "messages": box.messages[id_]} for id_, c in box.conversations.items()]
        requests = list(box.requests.values())
        shown = {"projects": list(box.projects.values()), "tasks": tasks}
        return _pretty({**shown, "clientRequests": requests, "conversations": talks})

    async def new_task(self, request: Request) -> Response:
        """Add a task."""
        body = await _body(request)
        known = {"title", "description", "aiConfidence"}
        more = {name: value for name, value in body.items() if name in known}
        return JSONResponse(self.sandbox.add_task(self._project(body), **more), 201)

    async def new_request(self, request: Request) -> Response:
        """Let a client ask."""
        body = await _body(request)
        return JSONResponse(self.sandbox.add_request(self._project(body), _text(body)), 201)

    async def new_message(self, request: Request) -> Response:
        """Let a client write."""
        body = await _body(request)
        message = self.sandbox.add_message(self._project(body), _text(body), str(body.get("conversation", "")))
        return JSONResponse(message, 201)

    def _project(self, body: Item) -> str:
        first = next(iter(self.sandbox.projects), "")
        return str(_there(self.sandbox.projects, str(body.get("projectId", first)))["id"])

    # --- the contract ----------------------------------------------------------------------------------------

    async def me(self, request: Request) -> Response:  # noqa: ARG002 - a route's form
        return JSONResponse({"id": "claudetm", "name": "claudetm's key"})

    async def list_projects(self, request: Request) -> Response:
        return _page(request, "projects", list(self.sandbox.projects.values()))

    async def project(self, request: Request) -> Response:
        return JSONResponse(_there(self.sandbox.projects, _id(request)))

    async def auto_task(self, request: Request) -> Response:
        project = _there(self.sandbox.projects, _id(request))
        body = await _body(request)
        threshold = body.get("threshold", project["autoTask"]["threshold"])
        if not isinstance(body.get("enabled"), bool) or not _share(threshold):
            raise HTTPException(422, "enabled is true or false, threshold a number from 0 to 1")
        project["autoTask"] = {"enabled": body["enabled"], "threshold": threshold}
        self.sandbox.tell(project["id"], "project", project["id"])
        return JSONResponse(project)

    async def list_tasks(self, request: Request) -> Response:
        wanted = request.query_params.get("projectId")
        tasks = [t for t in self.sandbox.tasks.values() if wanted in {None, t["projectId"]}]
        return _page(request, "tasks", _of_status(request, tasks))

    async def list_requests(self, request: Request) -> Response:
        return _page(request, "clientRequests", self._of_project(request, self.sandbox.requests))

    async def list_conversations(self, request: Request) -> Response:
        return _page(request, "conversations", self._of_project(request, self.sandbox.conversations))

    def _of_project(self, request: Request, items: dict[str, Item]) -> list[Item]:
        project = _there(self.sandbox.projects, _id(request))
        return _of_status(request, [i for i in items.values() if i["projectId"] == project["id"]])

    async def list_comments(self, request: Request) -> Response:
        return _page(request, "comments", _there(self.sandbox.comments, _id(request)))

    async def list_messages(self, request: Request) -> Response:
        return _page(request, "messages", _there(self.sandbox.messages, _id(request)))

    async def comment(self, request: Request) -> Response:
        task = _there(self.sandbox.tasks, _id(request))
        text = _text(await _body(request))
        return self._once(request, lambda: self.sandbox.add_comment(task["id"], text, "claudetm"))

    async def tell_progress(self, request: Request) -> Response:
        task = _there(self.sandbox.tasks, _id(request))
        body = await _body(request)
        if task["status"] != "IN_PROGRESS":
            raise Moved
        self.sandbox.progress[task["id"]].append(body)
        return Response(status_code=204)

    async def analysis(self, request: Request) -> Response:
        asked = _there(self.sandbox.requests, _id(request))
        body = await _body(request)
        _text(body)
        return self._once(request, lambda: self.sandbox.analyse(asked, body))

    async def reply(self, request: Request) -> Response:
        talk = _there(self.sandbox.conversations, _id(request))
        body = await _body(request)
        _text(body)
        if body.get("replyTo") not in {m["id"] for m in self.sandbox.messages[talk["id"]]}:
            raise HTTPException(422, "replyTo names no message of the conversation")
        return self._once(request, lambda: self.sandbox.reply(talk["id"], body))

    def _once(self, request: Request, make: Callable[[], Item]) -> Response:
        key = request.headers.get("idempotency-key", "")
        known = (request.url.path, key)
        if not key or not self.sandbox.knows_repeats or known not in self.sandbox.done:
            made = (201, make())
            if key:
                self.sandbox.done[known] = made
            return JSONResponse(made[1], made[0])
        status, item = self.sandbox.done[known]
        return JSONResponse(item, status)

    async def stream(self, request: Request) -> Response:
        project = _there(self.sandbox.projects, _id(request))
        last = request.headers.get("last-event-id", "")
        begin = int(last) if last.isdecimal() else len(self.sandbox.events)
        return StreamingResponse(self._events(project["id"], begin), media_type="text/event-stream")

    async def _events(self, project: str, place: int) -> AsyncIterator[str]:
        woken = self.sandbox.listen()
        try:
            yield "retry: 1000\n: welcome\n\n"
            while not self._closing.is_set():
                while place < len(self.sandbox.events):
                    of, event, id_ = self.sandbox.events[place]
                    place += 1
                    if of == project:
                        yield f"id: {place}\nevent: {event}\ndata: {json.dumps({'id': id_})}\n\n"
                if not await self._something(woken):
                    yield ": still here\n\n"
        finally:
            self.sandbox.forget(woken)

    async def _something(self, woken: asyncio.Event) -> bool:
        """Wait for an event, the end or the next heartbeat; return whether there is an event."""
        waits = [asyncio.ensure_future(e.wait()) for e in (woken, self._closing)]
        try:
            await asyncio.wait(waits, timeout=self.sandbox.heartbeat, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        came = woken.is_set()
        woken.clear()
        return came


def _id(request: Request) -> str:
    return unquote(request.path_params["id"])


def _there(items: dict[str, Any], id_: str) -> Any:
    if id_ not in items:
        raise HTTPException(404, "nothing is there")
    return items[id_]


def _of_status(request: Request, items: list[Item]) -> list[Item]:
    wanted = request.query_params.get("status")
    return [i for i in items if wanted in {None, i["status"]}]


def _page(request: Request, name: str, items: list[Item]) -> Response:
    limit, cursor = request.query_params.get("limit", "100"), request.query_params.get("cursor", "0")
    if not (limit.isdecimal() and 0 < int(limit) <= 100 and cursor.isdecimal()):  # noqa: PLR2004 - the contract's
        raise HTTPException(422, "limit is 1 to 100, cursor what the page before said")
    end = int(cursor) + int(limit)
    return JSONResponse({name: items[int(cursor) : end], "nextCursor": str(end) if end < len(items) else None})


async def _body(request: Request) -> Item:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST:
            raise HTTPException(413, f"a request has {_LARGEST} bytes at most")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise HTTPException(422, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(422, "the body is no object")
    return body


def _text(body: Item) -> str:
    text = body.get("text")
    if not isinstance(text, str) or not text:
        raise HTTPException(422, "text is missing")
    return text


def _share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _pretty(value: Any) -> Response:
    return Response(json.dumps(value, indent=2, ensure_ascii=False) + "\n", media_type="application/json")


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status)


async def _failed(request: Request, error: Exception) -> Response:  # noqa: ARG001 - a handler's form
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail)


async def _moved(request: Request, error: Exception) -> Response:  # noqa: ARG001 - a handler's form
    return _error(409, "it is no longer as the request takes it to be")
