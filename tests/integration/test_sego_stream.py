"""The stream of events over real sockets: whatever becomes of it, it comes back, and nothing is lost but time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from claudetm.adapters.sources.sego.client import Client
from claudetm.adapters.sources.sego.events import LARGEST_EVENT, Stream
from claudetm.adapters.sources.sego.source import SegoSource
from claudetm.ports.source import SourceRefused
from claudetm.testing.memory import FakeClock
from claudetm.testing.sego.faults import Fault, Silent
from claudetm.testing.sego.serve import serve
from claudetm.testing.sego.state import Sandbox
from claudetm.testing.source_conformance import eligible
from sego_world import PROJECT, SegoWorld, sego_world

pytestmark = pytest.mark.anyio
EVENTS = f"/api/mcp/projects/{PROJECT}/events"
_PATIENCE = 20.0  # seconds of a busy machine


class Waits(FakeClock):
    """A clock that remembers how long it was waited, and lets nobody wait more than so often."""

    def __init__(self, most: int = 10_000) -> None:
        super().__init__()
        self.waited: list[float] = []
        self._most = most

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        if len(self.waited) >= self._most:
            await asyncio.Event().wait()
        await super().sleep(seconds)


class Listening:
    """One stream under test, beside the server that it reads."""

    def __init__(self, world: SegoWorld, waits: int = 10_000, **changed: Any) -> None:
        self.world = world
        self.clock = Waits(waits)
        self.woken = 0
        self.notices: list[str] = []
        self.client = Client(replace(world.settings, **changed), self.clock)
        self.stream = Stream(self.client, self._wake, self.notices.append, lambda: 1.0)
        self.task = asyncio.create_task(self.stream.run())

    def _wake(self) -> None:
        self.woken += 1

    @property
    def opened(self) -> list[str]:
        """The `Last-Event-ID` of each time that the stream was asked for."""
        return [last for _, path, last in self.world.sandbox.asked if path == EVENTS]

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                if self.task.done() and not condition():
                    raise AssertionError("the stream has ended")
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.client.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world() -> AsyncIterator[SegoWorld]:
    async with sego_world() as made:
        yield made


@pytest.fixture
async def listen(world: SegoWorld) -> AsyncIterator[Callable[..., Listening]]:
    made: list[Listening] = []

    def begin(*faults: Fault, **changed: Any) -> Listening:
        world.serving.faults.extend(faults)
        made.append(Listening(world, **changed))
        return made[-1]

    yield begin
    for each in made:
        await each.close()


def events(body: str, **more: Any) -> Fault:
    """Answer with a stream that says so much and is over."""
    return Fault(EVENTS, status=200, content_type="text/event-stream", body=body.encode(), **more)


async def test_each_thing_that_comes_up_in_the_project_wakes(world: SegoWorld, listen: Any) -> None:
    told = listen()
    await told.until(lambda: told.woken == 1)  # opened: what came before is looked for
    world.sandbox.add_task(PROJECT)
    await told.until(lambda: told.woken == 2)
    world.sandbox.add_request(PROJECT, "A wish")
    await told.until(lambda: told.woken == 3)
    world.sandbox.add_message(PROJECT, "Hello")
    await told.until(lambda: told.woken == 4)
    world.sandbox.add_project("other")
    world.sandbox.add_task("other")
    world.sandbox.add_task(PROJECT)
    await told.until(lambda: told.woken == 5)
    assert told.woken == 5


async def test_a_dropped_stream_is_opened_again_where_it_stopped(world: SegoWorld, listen: Any) -> None:
    for _ in range(7):
        world.sandbox.tell(PROJECT, "task", "old")
    told = listen(events('id: 5\nevent: task\ndata: {"id": "1"}\n\n'))
    await told.until(lambda: told.woken == 5)  # opened, one; opened, the two that were missed
    assert told.opened == ["5"]
    assert told.clock.waited == [1.0]


async def test_a_stream_that_breaks_off_in_the_middle_of_an_event_is_opened_again(listen: Any) -> None:
    told = listen(events('event: task\ndata: {"id"', headers={"content-length": "1000"}))
    await told.until(lambda: len(told.opened) == 1)
    await told.until(lambda: told.woken == 2)
    assert told.notices == []


async def test_a_line_that_has_gone_silent_is_given_up(listen: Any) -> None:
    silent = Silent(EVENTS, times=2, body=b": hello\n\n")
    told = listen(silent, silence=0.1)
    await told.until(lambda: len(told.opened) == 1)
    assert silent.times == 0


async def test_a_heartbeat_keeps_a_quiet_stream_open(world: SegoWorld, listen: Any) -> None:
    world.sandbox.heartbeat = 0.02
    told = listen(silence=0.5)
    await told.until(lambda: told.woken == 1)
    seen = asyncio.get_running_loop().time()
    await told.until(lambda: asyncio.get_running_loop().time() > seen + 1.0)  # twice what silence is borne
    assert len(told.opened) == 1


async def test_a_server_with_errors_of_its_own_is_asked_less_and_less(listen: Any) -> None:
    told = listen(Fault(EVENTS, times=8, status=500))
    await told.until(lambda: told.woken == 1)
    assert told.clock.waited == [2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("spread", "pause"), [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)])
async def test_the_pauses_of_many_clients_differ(world: SegoWorld, spread: float, pause: float) -> None:
    world.serving.faults.append(Fault(EVENTS, status=500))
    clock = Waits(1)
    client = Client(world.settings, clock)
    running = asyncio.create_task(Stream(client, lambda: None, print, lambda: spread).run())
    while not clock.waited:  # noqa: ASYNC110 - a clock has no event
        await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await client.close()
    assert clock.waited == [pause]


async def test_a_server_that_asks_to_wait_is_waited_for(listen: Any) -> None:
    told = listen(Fault(EVENTS, status=429, headers={"Retry-After": "40"}))
    await told.until(lambda: told.woken == 1)
    assert told.clock.waited == [40]


async def test_the_servers_own_pause_is_kept_to(listen: Any) -> None:
    told = listen(events('retry: 7000\ndata: {"id": "1"}\n\n'))
    await told.until(lambda: len(told.opened) == 1)
    assert told.clock.waited == [7]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_ends_the_stream_with_the_remedy(world: SegoWorld, listen: Any, status: int) -> None:
    told = listen(Fault(times=99, status=status))
    with pytest.raises(SourceRefused, match="make a new one in Sego's settings, then set SEGO_API_KEY"):
        await told.task
    assert world.serving.faults[0].times >= 97  # the stream, and for 403 the tasks


async def test_a_key_that_is_revoked_later_is_told_by_the_hint_once(world: SegoWorld) -> None:
    world.serving.faults.append(Fault(EVENTS, status=401))
    source = world.source()
    with pytest.raises(SourceRefused, match="Sego refuses the API key"):
        await asyncio.wait_for(source.hint(), _PATIENCE)
    assert [n.partition(": make")[0] for n in world.notices] == ["Sego's stream of events: Sego refuses the API key"]
    with pytest.raises(TimeoutError):  # and it does not spin
        await asyncio.wait_for(source.hint(), 0.05)


@pytest.mark.parametrize("status", [204, 403, 404])
async def test_a_server_without_a_stream_is_polled_alone(world: SegoWorld, listen: Any, status: int) -> None:
    told = listen(Fault(EVENTS, times=99, status=status))
    await told.task
    assert told.notices == ["Sego offers no stream of events here: tasks are found by polling alone"]
    assert world.serving.faults[0].times == 98
    world.sandbox.add_task(PROJECT, "1")
    assert await eligible(world.source()) == ["sego-1"]


@pytest.mark.parametrize("status", [402, 413, 425, 431])
async def test_a_stream_that_is_declined_is_tried_again_from_the_start(listen: Any, status: int) -> None:
    told = listen(events('id: 5\nevent: task\ndata: {"id": "1"}\n\n'), Fault(EVENTS, status=status))
    await told.until(lambda: told.opened)
    assert told.opened == [""]  # the id itself may be what is declined


@pytest.mark.parametrize("id_", ["é", "😀", "a\x7f\x01b", "x" * 5000])
async def test_an_id_that_no_header_can_hold_is_let_go(listen: Any, id_: str) -> None:
    told = listen(events(f'id: {id_}\nevent: task\ndata: {{"id": "1"}}\n\n'))
    await told.until(lambda: told.opened)
    assert told.opened == [""]


async def test_bytes_that_are_no_text_cost_their_event_alone(listen: Any) -> None:
    body = b'\xff\xfe: \xc3\x28\n\nid: \xed\xa0\x80\nevent: task\ndata: {"id": "\xff"}\n\n'
    told = listen(Fault(EVENTS, status=200, content_type="text/event-stream", body=body))
    await told.until(lambda: told.opened)
    assert told.woken >= 2


async def test_a_page_in_the_streams_place_is_told_of_once_and_tried_again(listen: Any) -> None:
    page = Fault(EVENTS, times=3, status=200, content_type="text/html", body=b"<html>Log in</html>")
    told = listen(page)
    await told.until(lambda: told.woken == 1)
    assert len(told.notices) == 1
    assert "text/html" in told.notices[0]
    assert told.clock.waited == [2, 4, 8]


async def test_an_event_that_is_far_too_large_is_passed_over(listen: Any) -> None:
    huge = f'id: 3\ndata: {{"id": "1"}}\n\nid: 4\nevent: task\ndata: {"x" * (LARGEST_EVENT + 1)}\n\n'
    told = listen(events(huge))
    await told.until(lambda: len(told.opened) == 1)
    assert told.opened == [""]  # from 3 on it would come again
    assert told.notices == [f"An event of Sego's stream is larger than {LARGEST_EVENT} bytes and is left out"]
    assert told.woken >= 2


async def test_a_line_without_an_end_does_not_fill_the_memory(listen: Any) -> None:
    told = listen(events("data: " + "x" * 3_000_000))
    await told.until(lambda: len(told.opened) == 1)
    assert len(told.notices) == 1


async def test_malformed_events_are_told_of_once_and_the_next_one_wakes(listen: Any) -> None:
    lines = ["event: task\ndata: {oops\n\n", "event: task\ndata: [1]\n\n", "event: task\n\n", "garbage\n\n"]
    lines += ["\x00\xff: ?\n\n", "id: \x00\n\n", "retry: soon\n\n", "event: weather\ndata: {}\n\n", ": a word\n\n"]
    lines += ['event: task\r\ndata: {"id":\r\ndata: "1"}\r\n\r\n']
    told = listen(events("".join(lines)), waits=1)
    await told.until(lambda: told.clock.waited)
    assert told.woken == 2  # opened, and the last one
    assert told.notices == ["An event of Sego's stream is no JSON object and is left out"]


async def test_a_stream_that_points_elsewhere_is_not_followed(world: SegoWorld, listen: Any) -> None:
    async with serve(Sandbox()) as elsewhere:
        told = listen(Fault(EVENTS, status=307, headers={"location": f"{elsewhere.url}/events"}))
        with pytest.raises(SourceRefused, match="where the API key is not sent"):
            await told.task
        assert elsewhere.sandbox.asked == []
    assert len(world.sandbox.asked) == 0


async def test_a_server_that_is_gone_and_comes_back_is_found_again(listen: Any, world: SegoWorld) -> None:
    gone = listen(address="http://127.0.0.1:9", waits=4)
    await gone.until(lambda: len(gone.clock.waited) == 4)
    assert gone.clock.waited == [2, 4, 8, 16]
    assert gone.notices == []
    assert world.sandbox.asked == []


async def test_without_a_project_or_with_no_sse_nothing_is_listened_to() -> None:
    for changed in ({"project": ""}, {"stream": False}):
        async with sego_world(**changed) as world:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(world.source().hint(), 0.05)
            assert world.sandbox.asked == []


async def test_what_is_opened_again_is_hinted_at_without_a_stream_too() -> None:
    async with sego_world(stream=False) as world:
        world.sandbox.add_task(PROJECT, "1", status="IN_REVIEW")
        source = world.source()
        assert isinstance(source, SegoSource)
        await source.reopen("sego-1")
        await asyncio.wait_for(source.hint(), _PATIENCE)
        assert await eligible(source) == ["sego-1"]


async def test_closing_ends_the_stream(world: SegoWorld) -> None:
    source = world.source()
    await asyncio.wait_for(source.hint(), _PATIENCE)
    await source.close()
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "sego-events"]
