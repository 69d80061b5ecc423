"""What the wizard, doctor and `monitor sego` ask a Sego server; and the sandbox held to the contract, whole."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from claudetm.bootstrap.sego import (
    KeyAccepted,
    NoStream,
    ProjectSeen,
    Refused,
    Server,
    StreamOpens,
    Unreachable,
)
from claudetm.ports.source import Note
from claudetm.testing.sego.faults import Fault
from claudetm.testing.sego.serve import Serving, serve
from claudetm.testing.sego.state import Sandbox
from claudetm.testing.source_conformance import claimed, eligible, result_of
from sego_contract import Held, operations
from sego_world import PROJECT, SegoWorld

EVENTS = f"/api/mcp/projects/{PROJECT}/events"


@contextmanager
def beside() -> Iterator[Serving]:
    """Serve a sandbox in a thread: what asks it here waits for each answer."""
    ready, ended = threading.Event(), asyncio.Event()
    made: list[Any] = []
    held = Held()

    async def run() -> None:
        box = Sandbox(key="key-4711")
        box.add_project(PROJECT, name="Greetings")
        async with serve(box, around=held) as serving:
            made.extend((serving, asyncio.get_running_loop()))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield made[0]
    finally:
        made[1].call_soon_threadsafe(ended.set)
        thread.join()
    assert held.wrong == []


@pytest.fixture
def serving() -> Iterator[Serving]:
    with beside() as made:
        yield made


@pytest.fixture
def server(serving: Serving) -> Server:
    return Server(serving.url, "key-4711")


def test_a_key_that_is_taken_says_whose_it_is(server: Server) -> None:
    assert server.check_key() == KeyAccepted("claudetm's key")


def test_a_key_is_checked_by_what_is_public_where_nothing_else_answers(serving: Serving, server: Server) -> None:
    serving.faults.append(Fault("/api/mcp/me", status=404))
    assert server.check_key() == KeyAccepted("")
    serving.faults.append(Fault("/api/mcp/(me|tasks)", times=2, status=404))
    assert isinstance(refused := server.check_key(), Refused)
    assert "Sego has nothing at /api/mcp/tasks" in refused.sentence


def test_a_key_that_is_refused_a_server_out_of_reach_and_a_wrong_project(server: Server) -> None:
    refused = replace(server, key="wrong").check_key()
    assert isinstance(refused, Refused)
    assert refused.sentence.startswith("Sego refuses the API key")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = replace(server, address=f"http://127.0.0.1:{closed.getsockname()[1]}").check_key()
    assert isinstance(away, Unreachable)
    assert away.sentence.startswith("Sego cannot be reached at http://127.0.0.1")
    wrong = server.project("nope")
    assert isinstance(wrong, Refused)
    assert wrong.sentence.startswith("Sego has no project nope for this key")


def test_projects_are_listed_with_auto_task_and_threshold(serving: Serving, server: Server) -> None:
    serving.sandbox.add_project("p2", name="Q\x1b[31muiet", enabled=False, threshold=0.5)
    assert server.projects() == (
        ProjectSeen(PROJECT, "Greetings", auto_task=True, threshold=0.85),
        ProjectSeen("p2", "Quiet", auto_task=False, threshold=0.5),
    )


def test_auto_task_is_turned_on_and_off_and_told_as_it_is_then(serving: Serving, server: Server) -> None:
    assert server.set_auto_task(PROJECT, enabled=True, threshold=0.6) == server.project(PROJECT)
    off = server.set_auto_task(PROJECT, enabled=False)
    assert off == ProjectSeen(PROJECT, "Greetings", auto_task=False, threshold=0.6)
    serving.faults.append(Fault(".*/auto-task", status=403))
    told = server.set_auto_task(PROJECT, enabled=True)
    assert isinstance(told, Refused)
    assert told.sentence.startswith(
        f"Sego does not let this API key at /api/mcp/projects/{PROJECT}/auto-task (a fault)"
    )
    assert isinstance(server.set_auto_task("nope", enabled=True), Refused)


def test_a_stream_is_there_or_it_is_said_why_not(serving: Serving, server: Server) -> None:
    assert server.check_stream(PROJECT) == StreamOpens()
    serving.faults.append(Fault(EVENTS, status=204))
    assert server.check_stream(PROJECT) == NoStream(f"it answers 204 at {EVENTS}")
    serving.faults.append(Fault(EVENTS, status=200, content_type="text/html"))
    assert server.check_stream(PROJECT) == NoStream("it answers text/html")
    serving.faults.append(Fault(EVENTS, status=403))
    assert server.check_stream(PROJECT) == NoStream(f"the key is not let at {EVENTS}")
    serving.faults.append(Fault(EVENTS, status=401))
    assert isinstance(server.check_stream(PROJECT), Refused)
    serving.faults.append(Fault(EVENTS, status=500))
    assert isinstance(server.check_stream(PROJECT), Unreachable)


# --- the sandbox ---------------------------------------------------------------------------------------------------


def test_the_sandbox_keeps_the_contract_where_it_refuses(serving: Serving) -> None:
    """And whatever is wrong with a request: `held` looks at each answer."""
    task = serving.sandbox.add_task(PROJECT, "1")
    serving.sandbox.add_message(PROJECT, "Hello")
    tasks = "/api/mcp/tasks"
    cases: list[tuple[str, str, Any, int]] = [
        ("GET", f"{tasks}/nope", None, 404),
        ("PATCH", f"{tasks}/1", {"status": "LATER"}, 422),
        ("PATCH", f"{tasks}/1", {}, 422),
        ("PATCH", f"{tasks}/1", [], 422),
        ("PATCH", f"{tasks}/1", {"status": "IN_PROGRESS", "expectedStatus": "IN_REVIEW"}, 409),
        ("POST", f"{tasks}/1/comments", {"text": ""}, 422),
        ("POST", f"{tasks}/1/progress", {"stage": "working", "text": "too early"}, 409),
        ("POST", "/api/mcp/conversations/c1/messages", {"text": "Hi", "outcome": "completed", "replyTo": "m9"}, 422),
        ("PATCH", f"/api/mcp/projects/{PROJECT}/auto-task", {"enabled": "yes"}, 422),
        ("PATCH", f"/api/mcp/projects/{PROJECT}/auto-task", {"enabled": True, "threshold": 2}, 422),
        ("GET", f"{tasks}?limit=0", None, 422),
    ]
    with httpx2.Client(headers={"Authorization": "Bearer key-4711"}) as client:
        for method, path, body, status in cases:
            asked = client.request(method, serving.url + path, json=body) if body is not None else None
            asked = asked or client.request(method, serving.url + path)
            assert (method, path, asked.status_code) == (method, path, status)
            assert asked.json()["error"]["message"]
        assert client.get(f"{serving.url}/").json()["tasks"][0]["id"] == "1"
    assert httpx2.get(f"{serving.url}/").status_code == 401
    assert task["status"] == "BACKLOG"


def test_a_person_adds_to_the_sandbox_by_http(serving: Serving) -> None:
    with httpx2.Client(headers={"Authorization": "Bearer key-4711"}) as client:
        sandbox = f"{serving.url}/sandbox"
        assert client.post(f"{sandbox}/tasks", json={"title": "Greet"}).json()["title"] == "Greet"
        assert client.post(f"{sandbox}/client-requests", json={"text": "A wish"}).json()["status"] == "OPEN"
        first = client.post(f"{sandbox}/messages", json={"text": "Hello"}).json()
        again = client.post(f"{sandbox}/messages", json={"text": "Hello?", "conversation": "c1"}).json()
        assert (first["id"], again["id"]) == ("m1", "m2")
        assert client.post(f"{sandbox}/tasks", json={"projectId": "nope"}).status_code == 404


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_every_operation_of_the_contract_is_used() -> None:
    held = Held()
    box = Sandbox()
    box.add_project(PROJECT)
    async with serve(box, around=held) as serving:
        world = SegoWorld(serving)
        source = world.source()
        await asyncio.wait_for(source.hint(), 20)
        box.add_task(PROJECT, "1", description="Do it")
        box.add_request(PROJECT, "A wish")
        box.add_message(PROJECT, "Hello")
        for id_ in await eligible(source):
            job = await claimed(source, id_)
            await source.progress(job, Note("working", "step"))
            await source.finish(job, result_of(job))
        asking = Server(serving.url, box.key)
        await asyncio.to_thread(asking.projects)
        await asyncio.to_thread(lambda: asking.set_auto_task(PROJECT, enabled=True))
        await world.close()
    assert held.wrong == []
    assert held.seen == {told["operationId"] for _, _, told in operations()}
