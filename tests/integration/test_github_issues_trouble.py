"""Tasks from issues where something is odd: issues that move or are refused, labels' capitals, clocks, lost sight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from claudetm.adapters.dispatch.handover import Handover
from claudetm.adapters.dispatch.place import below, state_of
from claudetm.adapters.dispatch.processes import ProcessDispatch
from claudetm.adapters.sources.github.claims import BEAT, EXPIRY, Sign, State
from claudetm.bootstrap.worker import held_to
from claudetm.ports.source import Claimed, Gone, Mode, Note, Status, Taken
from claudetm.testing.memory import FakeClock
from claudetm.testing.source_conformance import claimed, eligible, offer, result_of
from github_double.double import Double
from issues_world import LABEL, US, GithubIssuesWorld, number

pytestmark = pytest.mark.anyio
COMMENTS = "POST /repos/*/issues/*/comments"
LOCKED = "Unable to create comment because issue is locked."
WORKING, DONE = "claudetm: working", "claudetm: done"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GithubIssuesWorld]:
    clock = FakeClock()
    with Double(tmp_path, clock.now) as github:
        yield GithubIssuesWorld(github, clock)


# --- what is refused ----------------------------------------------------------------------------------------------


async def test_an_issue_that_is_refused_is_passed_over_until_it_changes(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    world.github.faults.refuse(COMMENTS, 403, LOCKED)
    source = world.source()
    assert await eligible(source) == [id_]
    assert isinstance(await source.claim(id_), Gone)
    assert "locked" in (await offer(source, id_)).why_not
    await world.wait(60)
    assert await eligible(source) == []
    world.github.label(number(id_), "unlocked")
    assert await eligible(source) == [id_]


async def test_an_issue_that_is_refused_is_tried_again_after_an_hour(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    world.github.faults.refuse(COMMENTS, 403, LOCKED)
    assert isinstance(await world.source().claim(id_), Gone)
    await world.wait(3601)
    await world.source().list()  # GitHub's time is told by its answers
    assert await eligible(world.source()) == [id_]


@pytest.mark.parametrize("status", [404, 410, 403])
async def test_an_issue_that_goes_while_it_is_listed_ends_no_monitor(world: GithubIssuesWorld, status: int) -> None:
    gone, other = await world.add("Do it"), await world.add("Do that")
    world.github.comment(number(gone), "Soon.", "ada")
    world.github.faults.refuse(f"GET /repos/*/issues/{number(gone)}/comments", status, "Not now", times=2)
    assert await eligible(world.source()) == [other]
    assert str(status) in (await offer(world.source(), gone)).why_not


@pytest.mark.parametrize("status", [403, 451])
async def test_a_result_whose_issue_is_refused_ends_no_monitor(world: GithubIssuesWorld, status: int) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.github.faults.refuse(f"GET /repos/*/issues/{number(id_)}", status, "Repository access blocked", times=3)
    await world.source().reopen(id_)
    await world.source().give_back(job, "It stops.")
    await world.source().finish(job, result_of(job))


async def test_an_issue_that_was_moved_into_another_repository_is_no_task_here(world: GithubIssuesWorld) -> None:
    world.github.create_repository("acme/gadgets", people={US: "write", "ada": "write"})
    working, waiting = await world.add("Do it"), await world.add("Do that")
    source = world.source()
    job = await claimed(source, working)
    moved = [world.github.transfer_issue(number(id_), "acme/gadgets", "acme/widgets") for id_ in (working, waiting)]
    await source.list()
    assert not await source.keep(job)
    assert isinstance(await source.claim(waiting), Gone)
    await source.finish(job, result_of(job))
    assert [world.github.comments(n, "acme/gadgets") for n in moved] == [[], []]
    assert world.github.issue(moved[0], "acme/gadgets").labels == [LABEL, WORKING]


async def test_a_repository_that_was_renamed_keeps_its_tasks(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.github.rename("acme/doodads", "acme/widgets")
    await world.wait(301)
    assert await world.source().keep(job)


# --- labels -------------------------------------------------------------------------------------------------------


async def test_labels_are_the_same_in_capitals(world: GithubIssuesWorld) -> None:
    found = world.github.open_issue("Shout", "Do it.", "ada")
    world.github.label(found, LABEL.upper(), "Claudetm: Session", "Priority: High", "Claudetm: Done")
    source = world.opened(mode=Mode.GOAL)
    (only,) = await source.list()
    assert (only.why_not, only.priority) == ("", -10)
    job = await claimed(source, only.id)
    assert job.mode is Mode.SESSION
    assert await source.keep(job)
    await source.finish(job, result_of(job))
    assert world.labels(only.id) == {"Claudetm: Session", "Priority: High", "Claudetm: Done"}


async def test_a_label_that_is_renamed_gives_the_issue_back(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.github.unlabel(number(id_), LABEL)
    world.github.label(number(id_), "robot")
    await world.source().list()
    assert not await world.source().keep(job)
    assert world.claims(id_) == [("one", State.GIVEN)]


# --- one comment --------------------------------------------------------------------------------------------------


async def test_however_often_an_issue_is_given_back_one_comment_stands_on_it(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    for monitor in ("one", "two", "one", "three"):
        job = await claimed(world.source(monitor), id_)
        await world.source(monitor).give_back(job, "It stops.")
        assert world.claims(id_) == [(monitor, State.GIVEN)]
    job = await claimed(world.source(), id_)
    assert world.claims(id_) == [("one", State.WORKING)]
    await world.source().finish(job, result_of(job))
    assert world.claims(id_) == [("one", State.DONE)]


async def test_the_result_takes_away_what_monitors_that_died_have_left(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    for monitor in ("one", "two"):
        await claimed(world.source(monitor), id_)
        await world.wait(EXPIRY)
    job = await claimed(world.source("three"), id_)
    assert [who for who, _ in world.claims(id_)] == ["one", "two", "three"]
    await world.source("three").finish(job, result_of(job))
    assert world.claims(id_) == [("three", State.DONE)]
    assert not await world.source("one").keep(job)
    assert world.claims(id_) == [("three", State.DONE)]


async def test_a_claim_that_is_deleted_again_is_given_back_and_not_taken_until_the_issue_changes(
    world: GithubIssuesWorld,
) -> None:
    id_ = await world.add("Do it")
    source = world.source()
    job = await claimed(source, id_)
    for kept in (True, False):
        world.github.delete_comment(world.comments(id_)[0])
        await world.wait(301)
        assert await source.keep(job) is kept
    assert world.comments(id_) == []
    assert world.labels(id_) == {LABEL}
    assert "deleted twice" in (await offer(source, id_)).why_not
    await world.wait(1)
    world.github.comment(number(id_), "Go on.", "ada")
    assert await eligible(source) == [id_]


async def test_a_maintainer_who_quotes_our_claim_claims_nothing(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    quoted = f"claudetm is about to take it.\n\n{Sign('other', 1, State.DONE, 1).line}"
    world.github.comment(number(id_), "\n".join(f"> {line}" for line in quoted.splitlines()) + "\n\nWhy?", "ada")
    world.github.comment(number(id_), "\n".join(f"> {line}" for line in quoted.splitlines()), "ada")
    world.github.comment(number(id_), f"```\n{quoted}\n```", "ada")
    job = await claimed(world.source(), id_)
    assert job.id == id_


async def test_a_claim_that_a_person_writes_over_is_written_again(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.comments(id_)[0].body = "What is this?"
    await world.wait(301)
    assert await world.source().keep(job)
    assert world.claims(id_) == [("one", State.WORKING)]


# --- two at a time ------------------------------------------------------------------------------------------------


async def test_of_two_that_did_not_see_each_other_the_later_gives_way_at_its_next_sign_of_life(
    world: GithubIssuesWorld,
) -> None:
    id_ = await world.add("Do it")
    await claimed(world.source("first"), id_)
    with world.github.state.lock:  # GitHub does not show it yet
        hidden = list(world.hub.comments)
        world.hub.comments.clear()
    job = await claimed(world.source("second"), id_)
    with world.github.state.lock:
        world.hub.comments[:0] = hidden
    assert await world.source("second").keep(job)
    await world.wait(301)
    assert await world.source("first").keep(job)
    assert not await world.source("second").keep(job)
    assert world.claims(id_) == [("first", State.WORKING)]


async def test_one_that_wakes_late_never_revives_its_claim_where_another_has_the_issue(
    world: GithubIssuesWorld,
) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source("one"), id_)
    (late,) = world.comments(id_)
    await world.wait(EXPIRY)
    await claimed(world.source("two"), id_)
    before = late.updated_at
    assert not await world.source("one").keep(job)
    assert late.updated_at == before  # killed here, it would have been the oldest living claim
    assert isinstance(await world.opened("one").claim(id_), Taken)


async def test_three_monitors_at_once_and_one_has_the_issue(world: GithubIssuesWorld) -> None:
    ids = [await world.add("Do it") for _ in range(4)]
    for id_ in ids:
        names = ("one", "two", "three")
        outcomes = await asyncio.gather(*(world.source(name).claim(id_) for name in names))
        assert [type(o) for o in outcomes].count(Claimed) == 1
        assert len(world.claims(id_)) == 1


async def test_a_clock_of_ours_that_is_set_back_silences_nobody(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    source = world.source()
    job = await claimed(source, id_)
    source._clock.skew = -86_400.0  # type: ignore[attr-defined]
    for _ in range(3):
        await world.wait(301)
        assert await source.keep(job)
    assert isinstance(await world.source("two").claim(id_), Taken)


async def test_an_outage_of_an_hour_in_the_middle_of_a_task_is_lived_through(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.github.faults.fail("*", 503, times=1000)
    for _ in range(12):
        await world.wait(300)
        with pytest.raises(Exception, match="503"):
            await world.source().keep(job)
    world.github.faults.clear()
    await world.wait(300)
    assert await world.source().keep(job)
    await world.source().progress(job, Note("working", "Half of it."))
    await world.source().finish(job, result_of(job))
    assert await world.reported(id_) == [Status.COMPLETED]
    assert world.claims(id_) == [("one", State.DONE)]


# --- what is read -------------------------------------------------------------------------------------------------


async def test_the_hundred_and_first_issue_is_seen_when_it_comes(world: GithubIssuesWorld) -> None:
    for _ in range(100):
        world.task()
    source = world.source()
    assert len(await source.list()) == 100
    assert len(await source.list()) == 100
    world.task("One more.")
    assert len(await source.list()) == 101
    assert len(await source.list()) == 101


async def test_five_hundred_issues_cost_five_requests_a_look_and_no_quota(world: GithubIssuesWorld) -> None:
    for _ in range(495):
        world.task()
    source = world.source()
    await source.list()
    before, spent = len(world.github.requests), world.github.spent("core")
    assert len(await source.list()) == 495
    assert len(world.github.requests) - before == 5
    assert world.github.spent("core") == spent


# --- workers whose monitor is gone --------------------------------------------------------------------------------


async def test_a_worker_of_an_issue_has_ended_when_another_may_take_it_over(world: GithubIssuesWorld) -> None:
    job = await claimed(world.source(), await world.add("Do it"))
    assert 0 < job.lease < EXPIRY - BEAT


def test_a_worker_ends_where_no_monitor_keeps_its_claim_any_more(tmp_path: Path) -> None:
    claim, ended = tmp_path / "claim", Event()
    with held_to(claim, 0.2, ended.set):
        for _ in range(8):
            claim.touch()
            assert not ended.wait(0.05)
        assert ended.wait(5)


def test_a_worker_of_a_task_without_a_lease_outlives_its_monitor(tmp_path: Path) -> None:
    ended = Event()
    with held_to(tmp_path / "claim", 0.0, ended.set):
        assert not ended.wait(0.2)


async def test_a_monitor_that_keeps_its_claim_tells_the_worker(world: GithubIssuesWorld, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    dispatch = ProcessDispatch(below(tmp_path), {})
    job = await claimed(world.source(), await world.add("Do it"))
    state = state_of(tmp_path, job.id)
    await dispatch.kept(job)  # before anything was begun there
    state.root.mkdir(parents=True)
    await dispatch.kept(job)
    assert Handover(state).claim.exists()


# --- closed, and by whom ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["by hand", "by a merge", "nobody may tell"])
async def test_an_issue_that_a_person_closes_as_completed_is_taken_back_unless_a_merge_closed_it(
    world: GithubIssuesWorld, how: str
) -> None:
    id_ = await world.add("Do it")
    source = world.opened(mode=Mode.GOAL)
    job = await claimed(source, id_)
    await source.progress(job, Note("reviewing", "It is open.", link="https://github.com/acme/widgets/pull/9"))
    world.github.close_issue(number(id_))
    if how == "by a merge":  # which a person made
        world.github.issue(number(id_)).closed_by_commit = world.github.tip()
    if how == "nobody may tell":
        world.github.faults.refuse("graphql Closed", 403, "Resource not accessible by integration", times=9)
    await source.list()
    assert await source.keep(job) is (how != "by hand")
    assert world.claims(id_) == [("one", State.GIVEN if how == "by hand" else State.WORKING)]
