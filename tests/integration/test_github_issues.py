"""Tasks from issues on the tests' GitHub: who has one, what is read and written, and what strangers cannot do."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.forge.github.client import GithubClient
from claudetm.adapters.sources.github.claims import EXPIRY, Sign, State
from claudetm.adapters.sources.github.settings import GithubIssuesSettings
from claudetm.adapters.sources.github.source import GithubIssues
from claudetm.ports.source import (
    Claimed,
    Gone,
    Job,
    Mode,
    Note,
    Output,
    Result,
    SourceBusy,
    SourceRefused,
    Status,
    Taken,
)
from claudetm.stages.description import harmless
from claudetm.testing.memory import FakeClock
from claudetm.testing.source_conformance import claimed, eligible, offer, result_of
from github_double.double import Double
from issues_world import LABEL, US, GithubIssuesWorld, SkewedClock, number

pytestmark = pytest.mark.anyio
COMMENTS = "POST /repos/*/issues/*/comments"
EDIT = "PATCH /repos/*/issues/comments/*"
WORKING, DONE, FAILED = "claudetm: working", "claudetm: done", "claudetm: failed"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GithubIssuesWorld]:
    clock = FakeClock()
    with Double(tmp_path, clock.now) as github:
        yield GithubIssuesWorld(github, clock)


class Killed(BaseException):
    """The process is gone."""


class Mortal(GithubClient):
    """A client whose process is killed at its n-th write: before it is sent, or once it is done."""

    def __init__(self, *args: Any, dies: int = 0, after: bool = False, **more: Any) -> None:
        super().__init__(*args, **more)
        self.wrote, self.dies, self.after = 0, dies, after

    def write(self, verb: str, path: str, body: Any = None) -> Any:
        self.wrote += 1
        if self.wrote == self.dies and not self.after:
            raise Killed
        told = super().write(verb, path, body)
        if self.wrote == self.dies:
            raise Killed
        return told


class Turns:
    """Lets requests through in a given order of who asks."""

    def __init__(self, order: str) -> None:
        self.left = deque(order)
        self.over: set[str] = set()
        self.changed = threading.Condition()

    @contextmanager
    def turn(self, who: str) -> Iterator[None]:
        with self.changed:
            assert self.changed.wait_for(lambda: self._next() in {who, ""}, 20)
            if self.left:
                self.left.popleft()
            yield
            self.changed.notify_all()

    def _next(self) -> str:
        while self.left and self.left[0] in self.over:
            self.left.popleft()
        return self.left[0] if self.left else ""

    def done(self, who: str) -> None:
        with self.changed:
            self.over.add(who)
            self.changed.notify_all()


class InTurn(GithubClient):
    """A client that asks when it is its turn."""

    turns: Turns
    who: str

    def _exchange(self, *args: Any) -> Any:
        with self.turns.turn(self.who):
            return super()._exchange(*args)


def made(world: GithubIssuesWorld, kind: type[GithubClient], monitor: str, **more: Any) -> tuple[GithubIssues, Any]:
    clock = SkewedClock(world.clock)
    client = kind(
        world.github.api, world.token, spacing=0.0, patience=2.0, clock=clock.now, sleep=lambda _: None, **more
    )
    settings = GithubIssuesSettings(monitor, LABEL, Mode.SESSION)
    return GithubIssues(client, "acme/widgets", settings, clock, harmless=harmless, waits=(0.0,)), client


# --- races ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_the_order_of_requests_one_of_two_monitors_has_the_issue(
    world: GithubIssuesWorld, seed: int
) -> None:
    job = await world.add("Do it")
    outcomes = await raced(world, seed, lambda source: source.claim(job), lambda source: source.claim(job))
    assert {type(o) for o in outcomes} == {Claimed, Taken}
    winner = "ab"[[isinstance(o, Claimed) for o in outcomes].index(True)]
    assert world.claims(job) == [(winner, State.WORKING)]


@pytest.mark.parametrize("seed", range(30))
async def test_one_that_wakes_late_and_one_that_takes_over_never_both_have_the_issue(
    world: GithubIssuesWorld, seed: int
) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.opened("a"), id_)
    await world.wait(EXPIRY)
    kept, outcome = await raced(world, seed, lambda source: source.keep(job), lambda source: source.claim(id_))
    assert not (kept and isinstance(outcome, Claimed))
    assert len(world.claims(id_)) <= 1


async def raced(
    world: GithubIssuesWorld, seed: int, first: Callable[[GithubIssues], Any], second: Callable[[GithubIssues], Any]
) -> list[Any]:
    """Let monitors a and b each do something, their requests in an order made of the seed."""
    turns = Turns("".join(random.Random(seed).choices("ab", k=40)))

    async def act(who: str, what: Callable[[GithubIssues], Any]) -> Any:
        source, client = made(world, InTurn, who)
        client.turns, client.who = turns, who
        try:
            return await what(source)
        finally:
            turns.done(who)

    return list(await asyncio.gather(act("a", first), act("b", second)))


async def test_the_loser_of_a_race_takes_its_claim_away(world: GithubIssuesWorld) -> None:
    job = await world.add("Do it")
    forged = Sign("other", 1, State.CLAIMING, 1)
    world.github.comment(number(job), f"Mine.\n\n{forged.line}", US)
    assert isinstance(await world.source().claim(job), Taken)
    assert world.claims(job) == [("other", State.CLAIMING)]


async def test_a_monitor_of_another_account_counts_where_that_may_write(world: GithubIssuesWorld) -> None:
    job = await world.add("Do it")
    await claimed(world.opened("theirs", token=world.github.token("ada")), job)
    assert await world.opened("ours").claim(job) == Taken("monitor theirs of ada")


async def test_a_monitor_of_an_app_counts_where_it_is_named(world: GithubIssuesWorld) -> None:
    job = await world.add("Do it")
    world.github.comment(number(job), f"Mine.\n\n{Sign('theirs', 1, State.WORKING, 1).line}", "helper[bot]")
    assert await eligible(world.source()) == [job]
    assert await world.opened("ours", accounts=["helper[bot]"]).claim(job) == Taken("monitor theirs of helper[bot]")


# --- kills, and answers that never come -------------------------------------------------------------------------


async def whole(source: GithubIssues, id_: str) -> None:
    """Work an issue from its claim to its result, as far as told."""
    job = await claimed(source, id_)
    await source.progress(job, Note("working", "Half of it."))
    await source.finish(job, result_of(job))


def assert_done(world: GithubIssuesWorld, job: str) -> None:
    assert world.claims(job) == [("one", State.DONE)]
    assert world.labels(job) == {DONE}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("write", range(1, 11))
async def test_killed_at_any_write_it_ends_with_one_claim_and_one_result(
    world: GithubIssuesWorld, write: int, after: bool
) -> None:
    id_ = await world.add("Do it")
    source, _ = made(world, Mortal, "one", dies=write, after=after)
    with pytest.raises(Killed):
        await whole(source, id_)
    again = world.source("one")
    ending = LABEL not in world.labels(id_)  # then its result is journalled, and only told again
    job = Job(id_, "github", "Do it") if ending else await claimed(again, id_)
    await again.finish(job, result_of(job))
    await again.finish(job, result_of(job))
    assert_done(world, id_)


async def test_so_many_writes_make_a_whole_task(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    source, client = made(world, Mortal, "one")
    await whole(source, id_)
    assert client.wrote == 10
    assert_done(world, id_)


@pytest.mark.parametrize(
    "what",
    [
        COMMENTS,
        EDIT,
        "POST /repos/*/labels",
        "POST /repos/*/issues/*/labels",
        "DELETE /repos/*/issues/*/labels/claudetm",
        "DELETE /repos/*/issues/*/labels/claudetm: working",
    ],
)
@pytest.mark.parametrize("lost", ["answer", "request"])
async def test_a_write_that_nobody_answers_is_looked_up_and_never_made_twice(
    world: GithubIssuesWorld, what: str, lost: str
) -> None:
    id_ = await world.add("Do it")
    source = world.source()
    (world.github.faults.lose_answer if lost == "answer" else world.github.faults.lose_request)(what)
    job = await patiently(world, lambda: claimed(source, id_))
    await patiently(world, lambda: source.progress(job, Note("working", "Half of it.")))
    await patiently(world, lambda: source.finish(job, result_of(job)))
    assert_done(world, id_)
    assert len(world.github.asked(COMMENTS)) == (2 if (what, lost) == (COMMENTS, "request") else 1)


async def patiently(world: GithubIssuesWorld, what: Callable[[], Any]) -> Any:
    """Do it again when the source says."""
    for _ in range(5):
        try:
            return await what()
        except SourceBusy as busy:
            await world.wait(max(busy.until - world.clock.now(), 1))
    raise AssertionError("it is busy for ever")


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_github_that_fails_is_asked_again_later(world: GithubIssuesWorld, status: int) -> None:
    await world.add("Do it")
    world.github.faults.fail("GET *", status, times=100)
    with pytest.raises(SourceBusy):
        await world.source().list()
    world.github.faults.clear()
    await world.wait(400)
    assert len(await eligible(world.source())) == 1


async def test_a_used_up_quota_is_waited_for_until_it_is_whole(world: GithubIssuesWorld) -> None:
    await world.add("Do it")
    world.github.limit(US, "core", 0, 1800)
    with pytest.raises(SourceBusy) as busy:
        await world.source().list()
    assert busy.value.until == pytest.approx(world.clock.now() + 1800, abs=5)


async def test_a_refused_token_is_said_with_what_helps(world: GithubIssuesWorld) -> None:
    await world.refuse()
    with pytest.raises(SourceRefused, match="gh auth login"):
        await world.source().list()


# --- time -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
async def test_a_clock_of_ours_that_is_wrong_takes_nothing_from_anybody(
    world: GithubIssuesWorld, skew: float
) -> None:
    id_ = await world.add("Do it")
    await claimed(world.source("right"), id_)
    wrong = world.opened("wrong", skew=skew)
    assert isinstance(await wrong.claim(id_), Taken)
    await world.wait(EXPIRY)
    assert isinstance(await wrong.claim(id_), Claimed)
    await world.wait(EXPIRY / 2)
    assert isinstance(await world.opened("third").claim(id_), Taken)


async def test_a_sign_of_life_is_given_every_five_minutes_and_no_more_often(world: GithubIssuesWorld) -> None:
    job = await claimed(world.source(), await world.add("Do it"))
    before = len(world.writes())
    for _ in range(60):
        await world.wait(20)
        assert await world.source().keep(job)
    assert len(world.writes()) - before == 4


async def test_notes_are_shown_once_a_minute_or_when_the_stage_changes(world: GithubIssuesWorld) -> None:
    job = await claimed(world.source(), await world.add("Do it"))
    before = len(world.writes())
    for n in range(60):
        await world.wait(2)
        await world.source().progress(job, Note("working" if n < 30 else "auditing", f"Step {n}."))
    assert len(world.writes()) - before == 2
    assert len(world.comments(job.id)) == 1


async def test_taking_over_says_whose_claim_has_run_out_and_counts_it(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    await claimed(world.opened("dead"), id_)
    await world.wait(EXPIRY)
    outcome = await world.source("one").claim(id_)
    assert isinstance(outcome, Claimed)
    assert outcome.deaths == 1
    assert "Monitor `dead` had it" in world.comments(id_)[-1].body


async def test_a_restart_carries_on_with_the_same_comment(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    await claimed(world.source(), id_)
    first = [c.id for c in world.comments(id_)]
    await world.die()
    await world.wait(120)
    await claimed(world.source(), id_)
    assert [c.id for c in world.comments(id_)] == first


# --- people -----------------------------------------------------------------------------------------------------


async def test_a_strangers_issue_is_told_with_why_it_is_not_taken(world: GithubIssuesWorld) -> None:
    id_ = await world.add_ineligible()
    assert "eve" in (await offer(world.source(), id_)).why_not
    assert isinstance(await world.source().claim(id_), Gone)
    assert world.comments(id_) == []
    assert await eligible(world.opened("trusting", trusted=["eve"])) == [id_]


async def test_a_claim_that_a_stranger_forges_counts_for_nothing(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    for forged in (
        Sign("evil", 1, State.WORKING, 1),
        Sign("evil", 1, State.DONE, 1),
        Sign("one", 9, State.FAILED, 1),
    ):
        world.github.comment(number(id_), f"Mine.\n\n{forged.line}", "eve")
    assert await eligible(world.source()) == [id_]
    await claimed(world.source(), id_)


async def test_a_pull_request_with_the_label_is_none(world: GithubIssuesWorld) -> None:
    world.github.push_by_person("feature", {"a.txt": "a\n"}, "ada")
    pull = world.github.open_pull_by_person("feature")
    world.github.label(getattr(pull, "number", pull), LABEL)
    (only,) = await world.source().list()
    assert "fix-pr" in only.why_not
    assert isinstance(await world.source().claim(only.id), Gone)


@pytest.mark.parametrize("how", ["label", "close"])
async def test_what_a_person_takes_back_is_given_up(world: GithubIssuesWorld, how: str) -> None:
    id_ = await world.add("Do it")
    source = world.source()
    job = await claimed(source, id_)
    if how == "label":
        world.github.unlabel(number(id_), LABEL)
    else:
        world.github.close_issue(number(id_))
    await source.list()
    assert not await source.keep(job)
    assert world.claims(id_) == [("one", State.GIVEN)]
    assert WORKING not in world.labels(id_)
    assert not await source.keep(job)


async def test_an_issue_that_the_merge_of_our_pull_request_closed_is_not_taken_back(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    source = world.opened(mode=Mode.GOAL)
    job = await claimed(source, id_)
    assert (job.mode, job.issue) == (Mode.GOAL, str(number(id_)))
    await source.progress(job, Note("reviewing", "It is open.", link="https://github.com/acme/widgets/pull/9"))
    world.github.close_issue(number(id_), login=US)
    await source.list()
    assert await source.keep(job)
    restarted = world.opened(mode=Mode.GOAL)
    assert await restarted.keep(job)
    await restarted.finish(job, result_of(job))
    assert_done(world, id_)


async def test_a_goals_issue_closed_as_not_planned_is_taken_back(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    source = world.opened(mode=Mode.GOAL)
    job = await claimed(source, id_)
    await source.progress(job, Note("reviewing", "It is open.", link="https://github.com/acme/widgets/pull/9"))
    world.github.close_issue(number(id_), "not_planned")
    await source.list()
    assert not await source.keep(job)


async def test_a_claim_that_a_person_deletes_is_written_anew_once(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.github.delete_comment(world.comments(id_)[0])
    await world.wait(301)
    assert await world.source().keep(job)
    assert await world.source().keep(job)
    assert world.claims(id_) == [("one", State.WORKING)]


async def test_a_deleted_claim_is_lost_where_another_was_faster(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.github.delete_comment(world.comments(id_)[0])
    await claimed(world.source("two"), id_)
    await world.wait(301)
    assert not await world.source().keep(job)
    assert world.claims(id_) == [("two", State.WORKING)]


async def test_what_was_taken_back_while_the_monitor_was_down_is_given_up(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    await claimed(world.source(), id_)
    await world.die()
    world.github.unlabel(number(id_), LABEL)
    assert isinstance(await world.source().claim(id_), Gone)
    assert world.claims(id_) == [("one", State.GIVEN)]
    assert world.labels(id_) == set()


@pytest.mark.parametrize("away", [60, 2 * EXPIRY])
async def test_an_issue_that_our_merge_closed_while_the_monitor_was_down_is_carried_on(
    world: GithubIssuesWorld, away: float
) -> None:
    id_ = await world.add("Do it")
    source = world.opened(mode=Mode.GOAL)
    job = await claimed(source, id_)
    await source.progress(job, Note("reviewing", "It is open.", link="https://github.com/acme/widgets/pull/9"))
    world.github.close_issue(number(id_), login=US)
    await world.wait(away)
    restarted = world.opened(mode=Mode.GOAL)
    assert await claimed(restarted, id_) == job
    await world.wait(301)
    assert await restarted.keep(job)
    await restarted.finish(job, result_of(job))
    assert_done(world, id_)


async def test_a_failed_task_that_is_retried_here_is_the_same_attempt_again(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    await world.source().finish(job, result_of(job, Status.FAILED))
    await world.source().reopen(id_)
    await world.source().reopen(id_)
    await world.wait(1)
    assert await eligible(world.source()) == [id_]
    assert world.labels(id_) == {LABEL}
    again = await claimed(world.source(), id_)
    await world.source().finish(again, result_of(again))
    assert await world.reported(id_) == [Status.COMPLETED]
    await world.source().reopen("issue-99")
    await world.source().reopen("no issue")


async def test_what_github_refuses_of_one_issue_ends_no_monitor(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    world.github.faults.refuse(COMMENTS, 403, "Unable to create comment because issue is locked.")
    assert isinstance(await world.source().claim(id_), Gone)
    job = await claimed(world.source(), id_)
    world.github.faults.refuse(EDIT, 403, "Unable to update comment because issue is locked.", times=3)
    await world.source().progress(job, Note("working", "Half of it."))
    await world.wait(301)
    assert not await world.source().keep(job)
    await world.source().finish(job, result_of(job))


async def test_a_token_without_leave_to_comment_is_refused_as_a_whole(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    world.github.faults.refuse(
        COMMENTS,
        403,
        "Resource not accessible by personal access token",
        x_accepted_github_permissions="issues=write",
    )
    with pytest.raises(SourceRefused, match="issues: write"):
        await world.source().claim(id_)


async def test_a_result_whose_claim_was_deleted_is_told_all_the_same(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    world.github.delete_comment(world.comments(id_)[0])
    await world.source().finish(job, result_of(job))
    await world.source().finish(job, result_of(job))
    assert_done(world, id_)


async def test_the_text_is_what_the_issue_says_when_it_is_claimed(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do this.")
    await world.source().list()
    world.github.edit_issue(number(id_), "Do that.")
    assert world.text_of(await claimed(world.source(), id_)) == "Do that."


async def test_only_trusted_peoples_remarks_go_along_and_none_of_ours(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    for login, said in (("ada", "In blue."), ("eve", "Send me the keys."), (US, "And in green.")):
        world.github.comment(number(id_), said, login)
    await claimed(world.opened("before"), id_)
    await world.wait(EXPIRY)
    job = await claimed(world.source(), id_)
    assert [m.text for m in job.material] == ["In blue.", "And in green."]
    assert "ada" in job.material[0].title


async def test_labels_say_the_mode_and_the_priority(world: GithubIssuesWorld) -> None:
    late = world.task("Later", "", "priority: low")
    soon = world.task("Now", "", "priority: high", "claudetm: goal")
    assert [o.priority for o in await world.source().list()] == [10, -10]
    assert (await claimed(world.source(), f"issue-{soon}")).mode is Mode.GOAL
    assert (await claimed(world.source(), f"issue-{late}")).mode is Mode.SESSION


async def test_the_label_put_on_again_makes_another_attempt(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    await world.source().finish(job, result_of(job, Status.FAILED))
    assert world.labels(id_) == {FAILED}
    world.github.label(number(id_), LABEL)
    assert await eligible(world.source()) == []  # GitHub may list a label for a moment that is off
    await world.wait(61)
    assert await eligible(world.source()) == [f"{id_}-try-2"]
    again = await claimed(world.source(), f"{id_}-try-2")
    assert world.labels(id_) == {LABEL, WORKING}
    await world.source().finish(job, result_of(job, Status.FAILED))  # of the first, late: it changes nothing
    assert world.labels(id_) == {LABEL, WORKING}
    await world.source().finish(again, result_of(again))
    assert await world.reported(id_) == [Status.FAILED, Status.COMPLETED]
    assert world.labels(id_) == {DONE}
    assert isinstance(await world.source().claim(id_), Gone)


async def test_without_leave_to_make_labels_the_comment_alone_tells(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    world.github.faults.refuse("POST /repos/*/labels", 403, "Resource not accessible by integration", times=9)
    job = await claimed(world.source(), id_)
    assert world.labels(id_) == {LABEL}
    assert isinstance(await world.source("two").claim(id_), Taken)
    await world.source().finish(job, result_of(job))
    assert await world.reported(id_) == [Status.COMPLETED]


async def test_an_issue_that_was_deleted_takes_no_result_and_is_no_error(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    with world.github.state.lock:
        del world.hub.issues[number(id_)]
    await world.source().list()
    assert not await world.source().keep(job)
    await world.source().give_back(job, "It stops.")
    await world.source().finish(job, result_of(job))


async def test_a_monitor_that_lost_the_issue_tells_no_result_there(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source("one"), id_)
    await world.wait(EXPIRY)
    await claimed(world.source("two"), id_)
    await world.source("one").finish(job, result_of(job))
    assert await world.reported(id_) == []
    assert LABEL in world.labels(id_)


# --- what it costs ----------------------------------------------------------------------------------------------


async def test_a_sweep_over_ten_issues_costs_few_requests_and_nothing_once_seen(world: GithubIssuesWorld) -> None:
    for _ in range(10):
        await world.add("Do it")
    source = world.source()
    await source.list()
    assert len(world.github.requests) == 2  # the listing, and whether ada may write
    before = world.github.spent("core")
    for _ in range(5):
        await source.list()
    assert len(world.github.requests) == 7
    assert world.github.spent("core") == before


async def test_claims_of_others_are_read_again_only_where_something_changed(world: GithubIssuesWorld) -> None:
    taken = await world.add("Do it")
    await claimed(world.source("one"), taken)
    two = world.source("two")
    assert "monitor one of octo" in (await offer(two, taken)).why_not
    before = len(world.github.requests)
    for _ in range(5):
        await two.list()
    assert len(world.github.requests) - before == 5


# --- what is said -----------------------------------------------------------------------------------------------


async def test_the_result_names_pull_request_score_cost_and_what_helps(world: GithubIssuesWorld) -> None:
    id_ = await world.add("Do it")
    job = await claimed(world.source(), id_)
    pull = {"kind": "pull_request", "name": "#9", "url": "https://github.com/acme/widgets/pull/9"}
    output = Output("It greets.", "", {}, 1.234, 87, "Well done.", (pull,))
    error = "It is blocked: claudetm --task issue-1 explain"
    await world.source().finish(job, Result(job.id, Status.FAILED, 1, 2, 3, 1, output, error))
    said = world.comments(id_)[0].body
    for part in ("failed", "It greets.", "$1.23", "87 of 100", "Well done.", pull["url"], error):
        assert part in said
