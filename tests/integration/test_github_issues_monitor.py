"""The monitor over issues on the tests' GitHub: real queue, journal, results and source; the work is played."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from claudetm.intake.monitor import Ended, Ending, Monitor, MonitorPorts
from claudetm.intake.policy import MonitorPolicy
from claudetm.ports.dispatch import Done, Failed, WorkOutcome
from claudetm.ports.source import Lane, Note, Output, Status
from claudetm.testing.memory import FakeClock, MemoryInbox, MemoryJournal, MemoryViews
from claudetm.testing.memory_dispatch import MemoryDispatch, Working
from claudetm.testing.memory_source import MemoryResults
from github_double.double import Double
from issues_world import GithubIssuesWorld, SkewedClock

pytestmark = pytest.mark.anyio
PULL: Mapping[str, str] = {"kind": "pull_request", "name": "#9", "url": "https://github.com/acme/widgets/pull/9"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GithubIssuesWorld]:
    clock = FakeClock()
    with Double(tmp_path, clock.now) as github:
        yield GithubIssuesWorld(github, clock)


async def work(working: Working) -> WorkOutcome:
    working.note(Note("working", "Half of it.", 0.2))
    await asyncio.sleep(0.05)
    if "fail" in working.job.text:
        return Failed(
            "The checks stay red.", f"claudetm --task {working.job.id} explain", Output("Tried.", cost_usd=2)
        )
    return Done(Output(f"Did {working.job.title}.", cost_usd=0.5, score=90, artifacts=(PULL,)))


async def swept(world: GithubIssuesWorld, monitor: str, dispatch: MemoryDispatch, jobs: int = 1) -> Ended:
    ports = MonitorPorts(
        (world.source(monitor),),
        dispatch,
        MemoryJournal(),
        MemoryResults(),
        MemoryInbox(),
        MemoryViews(),
        SkewedClock(world.clock),
    )
    policy = MonitorPolicy(once=True, poll=0.2, keep=0.1, lanes={Lane.WORK: jobs})
    return await Monitor(ports, policy, tick=0.02).run()


async def test_labelled_issues_are_worked_in_order_and_told_how_they_ended(world: GithubIssuesWorld) -> None:
    first, second = await world.add("Greet.", "Greet"), await world.add("This will fail.", "Shout")
    stranger = await world.add_ineligible()
    dispatch = MemoryDispatch(work)
    ended = await asyncio.wait_for(swept(world, "one", dispatch), 60)
    assert ended.ending is Ending.DONE
    assert dispatch.began == [first, second]
    assert (world.labels(first), world.labels(second)) == ({"claudetm: done"}, {"claudetm: failed"})
    assert world.comments(stranger) == []
    (done,), (failed,) = world.comments(first), world.comments(second)
    assert PULL["url"] in done.body
    assert "claudetm --task issue-2 explain" in failed.body


async def test_two_monitors_share_the_issues_and_none_is_worked_twice(world: GithubIssuesWorld) -> None:
    ids = [await world.add(f"Do {n}.") for n in range(6)]
    one, two = MemoryDispatch(work), MemoryDispatch(work)
    await asyncio.wait_for(asyncio.gather(swept(world, "one", one), swept(world, "two", two)), 120)
    assert Counter([*one.began, *two.began]) == Counter(ids)
    assert [await world.reported(id_) for id_ in ids] == [[Status.COMPLETED]] * 6
    assert all(world.labels(id_) == {"claudetm: done"} for id_ in ids)
