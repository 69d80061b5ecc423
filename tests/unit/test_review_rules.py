"""What people say of a pull request is answered and never overridden; a disagreement is shown with both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from claudetm.adapters.forge.local_journal import ForgeJournal
from claudetm.engine.loop import Ending
from claudetm.errors import ForgeError
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from claudetm.ports.forge import MergeOutcome, NewPullRequest, Note, Opposed
from claudetm.prompts.bounds import SHOWN
from claudetm.testing.memory import GREEN, MemoryForge
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, Comment, PullRequest, Thread, both_sides, fixed
from world import World, answered, honest, proposal, task

ONE: Final = proposal({"id": "c1", "title": "Greet", "tasks": [task("Say hello")]})
UNREVIEWED: Final = Policy(self_review=False, poll_seconds=30.0)
COMMIT: Final = "a" * 40
WAITED: Final = [Ending.PAUSED, Ending.VERIFIED]

Answer = Callable[[World], SessionReport]


def replies(outcome: str, text: str = "README.md:1 is right.") -> Answer:
    """Return an answer that gives every open remark this outcome."""

    def answer(world: World) -> SessionReport:
        if outcome == "fixed":
            world.repository.work("c1", {f"fix-{len(world.agent.requests)}.txt": "fixed"}, "Fix")
        waiting = [t for t in world.forge.pulls[1].threads.values() if t.unanswered and not t.resolved]
        said = [{"thread_id": t.id, "outcome": outcome, "text": text} for t in waiting]
        return answered({"replies": said, "checks": []})

    return answer


def responding(answer: Answer, policy: Policy = UNREVIEWED) -> World:
    """Return a world whose responder answers so."""

    async def play(world: World, request: SessionRequest) -> SessionReport:
        return answer(world) if request.role is Role.RESPONDER else await honest(world, request)

    return World(plan=ONE, policy=policy, play=play)


def once(world: World, act: Callable[[], object]) -> None:
    """Let a person do something as soon as the pull request is there."""
    left = [act]

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        if left:
            left.pop()()
        return GREEN

    world.forge.checks = checks


class Patient(MemoryForge):
    """Has the run paused after so many looks: nobody came, and nobody would have."""

    looks = 40

    def __init__(self, world: World) -> None:
        super().__init__(world.repository, world.fault)
        self.world = world

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        """Count the looks."""
        self.looks -= 1
        if not self.looks:
            self.world.inbox.send("pause", "nobody came")
        return await super().read(numbers)


def waits(world: World, come: Callable[[], object]) -> list[Ending]:
    """Return how the run ends while nobody comes, and then when somebody does."""

    async def both() -> list[Ending]:
        first = await world.drive()
        assert not world.forge.merges
        come()
        return [first, await world.drive()]

    return asyncio.run(both())


# --- a thread ---------------------------------------------------------------------------------------------------


def test_a_word_of_ours_does_not_answer_what_came_after_it_was_decided() -> None:
    thread = Thread("t1", (Comment("ada", "Why?"),)).with_reply(Comment("ada", "And why there?"))
    thread = thread.with_reply(Comment("claudetm", "Done.", ours=True), resolve=True, seen=1)
    assert (thread.resolved, thread.unanswered) == (False, True)
    answer = thread.with_reply(Comment("claudetm", "Done, too.", ours=True), resolve=True, seen=3)
    assert (answer.resolved, answer.unanswered) == (True, False)


def test_what_a_person_has_closed_our_answer_leaves_closed_and_their_next_word_opens() -> None:
    thread = replace(Thread("t1", (Comment("ada", "Why?"),)), resolved=True)
    answer = thread.with_reply(Comment("claudetm", "Because.", ours=True), seen=1)
    assert answer.resolved
    assert not answer.with_reply(Comment("ada", "No.")).resolved


def test_a_persons_word_in_a_remark_that_asked_for_nothing_is_in_the_way() -> None:
    thread = Thread("t1", (Comment("claudetm", "Minor.", ours=True),), unanswered=False, blocking=False)
    assert not thread.stands
    assert thread.with_reply(Comment("ada", "It is not minor.")).stands


def test_a_thread_tells_both_sides_and_the_commit_that_addresses_it() -> None:
    claim = Comment("claudetm", "It fails on\nan empty name.", ours=True)
    thread = Thread("t1", (claim,), "a.py", 3)
    assert both_sides(thread) == "t1 a.py:3: claudetm: “It fails on an empty name.”; not answered"
    thread = thread.with_reply(Comment("claudetm", fixed("Checked.", COMMIT), ours=True), resolve=True)
    assert (thread.fixed_in, thread.resolved) == (COMMIT, True)
    assert both_sides(thread).endswith(f"; answered: “Checked. Fixed in {COMMIT}.”")
    asked = thread.with_reply(Comment("ada", "Are you sure?"))
    assert both_sides(asked, 12).startswith("t1 a.py:3: ada: “Are you sur…”")


def test_a_commit_that_a_person_names_is_not_taken_for_ours() -> None:
    thread = Thread("t1", (Comment("ada", fixed("I did it.", COMMIT)),))
    assert not thread.fixed_in
    assert not thread.with_reply(Comment("claudetm", f"Fixed in {COMMIT}.\nNo.", ours=True)).fixed_in


# --- the records ------------------------------------------------------------------------------------------------


@pytest.fixture
def records(tmp_path: Path) -> ForgeJournal:
    journal = ForgeJournal(tmp_path / "forge" / "journal.jsonl")
    journal.open(NewPullRequest("c1", "claudetm/r1/c1", "h1", "Greet", ""), "b1", 0)
    return journal


def test_only_those_who_spoke_in_a_conversation_resolve_it(records: ForgeJournal) -> None:
    thread = records.comment(1, "ada", "Why?")
    with pytest.raises(ForgeError, match=f"The conversation {thread} is ada's: only they resolve it"):
        records.resolve(1, thread, "bob")
    assert records.pull(1).opposed
    records.resolve(1, thread, "ada")
    assert not records.pull(1).opposed


def test_anybody_resolves_what_the_reviewer_role_began(records: ForgeJournal) -> None:
    thread = records.note(1, Note("m1", "It fails."))
    records.resolve(1, thread, "bob")
    assert records.pull(1).threads[thread].resolved


def test_an_approval_closes_what_that_person_began_and_was_answered(records: ForgeJournal) -> None:
    mine, open_, other = (records.comment(1, who, "Why?") for who in ("ada", "ada", "bob"))
    for thread in (mine, other):
        records.note(1, Note(f"r:{thread}", "Because.", thread, seen=1))
    records.approve(1, "ada")
    threads = records.pull(1).threads
    assert [threads[t].resolved for t in (mine, open_, other)] == [True, False, False]
    again = ForgeJournal(records.path)
    again.refresh()
    assert again.pulls == records.pulls


def test_an_approval_lifts_only_that_persons_objection_and_stays(records: ForgeJournal) -> None:
    records.object_(1, "ada")
    records.approve(1, "bob")
    assert (records.pull(1).approvals, records.pull(1).objections) == (1, ("ada",))
    records.approve(1, "ada")
    assert (records.pull(1).approvals, records.pull(1).objections) == (2, ())


def test_records_without_the_newer_fields_are_read(records: ForgeJournal) -> None:
    records.comment(1, "ada", "Why?")
    text = records.path.read_text(encoding="utf-8")
    records.path.write_text(text.replace(', "seen": 0, "reopen": false', ""), encoding="utf-8")
    again = ForgeJournal(records.path)
    again.refresh()
    assert again.pulls == records.pulls


def test_nothing_is_free_to_merge_once_somebody_has_spoken(records: ForgeJournal) -> None:
    with records.unopposed(1) as free:
        assert free
    ForgeJournal(records.path).object_(1, "ada")
    with records.unopposed(1) as free:
        assert not free


# --- runs -------------------------------------------------------------------------------------------------------


def test_a_comment_is_answered_and_resolved_with_the_commit_that_addresses_it() -> None:
    world = responding(replies("fixed", "It greets now."))
    once(world, lambda: world.forge.remark(1, "Greet louder.", path="README.md"))
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    [thread] = world.forge.pulls[1].threads.values()
    assert thread.resolved
    assert world.repository.nodes[thread.fixed_in].subject == "Fix"
    assert thread.fixed_in in world.repository.ancestors(world.repository.branches["main"])


def test_what_is_declined_to_a_person_waits_for_them_and_nothing_merges() -> None:
    world = responding(replies("declined"))
    world.forge = forge = Patient(world)
    once(world, lambda: forge.remark(1, "Greet louder."))
    assert waits(world, lambda: forge.resolve_by_person(1, "t1.1")) == WAITED
    assert world.count("ReviewsAnswered") == 1


def test_an_objection_stands_over_rounds_of_fixes_until_that_person_lifts_it() -> None:
    world = responding(replies("fixed"))
    world.forge = forge = Patient(world)

    def object_() -> None:
        forge.remark(1, "Greet louder.")
        forge.pulls[1].objections = ("ada",)

    def lift() -> None:
        assert forge.pulls[1].threads["t1.1"].resolved
        forge.pulls[1].objections = ()

    once(world, object_)
    assert waits(world, lift) == WAITED


def test_required_approvals_are_waited_for() -> None:
    world = responding(replies("fixed"), replace(UNREVIEWED, reviews_required=1))
    world.forge = forge = Patient(world)
    assert waits(world, lambda: setattr(forge.pulls[1], "approvals", 1)) == WAITED


def test_a_person_who_speaks_while_the_answer_is_written_is_answered_too() -> None:
    later = ["And there, too."]

    def answer(world: World) -> SessionReport:
        report = replies("fixed")(world)
        if later:
            world.forge.remark(1, later.pop(), thread="t1.1")
        return report

    world = responding(answer)
    once(world, lambda: world.forge.remark(1, "Greet louder."))
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert world.count("ReviewsAnswered") == 2
    [thread] = world.forge.pulls[1].threads.values()
    assert [c.ours for c in thread.comments] == [False, False, True, True]


def test_a_finding_in_which_a_person_has_spoken_is_not_closed_by_declining_it() -> None:
    claim = {"severity": "blocking", "path": "README.md", "line": 1, "failure": "It fails.", "confidence": "high"}
    found = answered({"findings": [{"claim": "Wrong", **claim}], "earlier": [], "examined": ["README.md"]})

    async def play(world: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.REVIEWER:
            return found
        if request.role is not Role.RESPONDER:
            return await honest(world, request)
        if len(world.forge.pulls[1].threads["t1.1"].comments) == 1:
            world.forge.remark(1, "I agree with the reviewer.", thread="t1.1")
        return replies("declined")(world)

    world = World(plan=ONE, policy=replace(UNREVIEWED, self_review=True), play=play)
    world.forge = Patient(world)
    assert asyncio.run(world.drive()) is Ending.PAUSED
    assert world.forge.pulls[1].threads["t1.1"].stands


def test_what_the_reviewer_finds_not_fixed_is_asked_again_and_what_was_declined_is_not() -> None:
    claim = {"severity": "blocking", "path": "README.md", "line": 1, "failure": "It fails.", "confidence": "high"}
    reviews = [
        {"findings": [{"claim": c, **claim} for c in ("One", "Two")], "earlier": [], "examined": ["README.md"]},
        {"findings": [], "earlier": [{"id": f"t1.{n}", "fixed": False} for n in (1, 2)], "examined": ["README.md"]},
    ]
    fine = {"findings": [], "earlier": [{"id": "t1.1", "fixed": True}], "examined": ["README.md"]}

    async def play(world: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.REVIEWER:
            return answered(reviews.pop(0) if reviews else fine)
        if request.role is not Role.RESPONDER:
            return await honest(world, request)
        report = replies("fixed")(world)
        for reply in (report.answer or {})["replies"]:
            reply["outcome"] = "fixed" if reply["thread_id"] == "t1.1" else "declined"
        return report

    world = World(plan=ONE, policy=replace(UNREVIEWED, self_review=True), play=play)
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    one, two = world.forge.pulls[1].threads.values()
    assert [c.body.split()[0] for c in one.comments] == ["One", "README.md:1", "Not", "README.md:1"]
    assert len(two.comments) == 2
    assert one.resolved
    assert two.resolved
    assert one.fixed_in == world.run.changes["c1"].head
    assert [r.data["findings"] for r in world.records if r.type == "SelfReviewed"] == [2, 1, 0]


def test_rounds_of_the_reviewer_role_leave_a_person_theirs() -> None:
    claim = {"severity": "blocking", "path": "README.md", "line": 1, "failure": "It fails.", "confidence": "high"}

    async def play(world: World, request: SessionRequest) -> SessionReport:
        if request.role is Role.REVIEWER:
            said = f"Wrong at {len(world.agent.requests)}"
            return answered({"findings": [{"claim": said, **claim}], "earlier": [], "examined": ["README.md"]})
        return replies("fixed")(world) if request.role is Role.RESPONDER else await honest(world, request)

    world = World(plan=ONE, policy=replace(UNREVIEWED, self_review=True, review_rounds=2), play=play)

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        if world.count("ReviewsAnswered") == 2 and len(world.forge.pulls[1].threads) == 2:
            world.forge.remark(1, "And why there?")
        return GREEN

    world.forge.checks = checks
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert [r.data["people"] for r in world.records if r.type == "ReviewsAnswered"] == [False, False, True]
    assert world.run.changes["c1"].review_rounds == 1


@pytest.mark.parametrize("when", ["just before the merge", "while the checks run"])
def test_a_person_may_remark_as_often_as_they_like_where_each_remark_is_agreed_upon(when: str) -> None:
    world = responding(replies("fixed", "Done."), replace(UNREVIEWED, review_rounds=2))
    merge = world.forge.merge

    def remark() -> None:
        left = [t for t in world.forge.pulls[1].threads.values() if not t.resolved]
        if not left and len(world.forge.pulls[1].threads) < 5:
            world.forge.remark(1, "And this, please.")

    async def merges(number: int, head: str, base: str, method: str) -> MergeOutcome:
        remark()
        return await merge(number, head, base, method)

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        remark()
        return GREEN

    if when == "while the checks run":
        world.forge.checks = checks
    else:
        world.forge.merge = merges  # type: ignore[method-assign] # a person at that very moment
    assert asyncio.run(world.drive()) is Ending.VERIFIED, world.run.halt
    assert world.count("ReviewsAnswered") == 5


def test_remarks_that_never_end_block_though_each_is_agreed_upon() -> None:
    world = responding(replies("fixed", "Done."), replace(UNREVIEWED, review_rounds=2))

    def checks(pull: PullRequest) -> tuple[Check, ...]:
        if not any(t.unanswered for t in pull.threads):
            world.forge.remark(pull.number, "Coverage is 97 %.", author="bot")
        return GREEN

    world.forge.checks = checks
    assert asyncio.run(world.drive()) is Ending.BLOCKED
    assert world.count("ReviewsAnswered") == 8
    assert world.run.halt is not None
    assert "8 rounds of remarks were answered, and new ones come" in world.run.halt.reason


def test_rounds_without_agreement_block_and_show_both_sides() -> None:
    said = ["Greet louder.", "Louder, I said."]

    def answer(world: World) -> SessionReport:
        report = replies("declined", "It is loud.")(world)
        assert report.answer is not None
        return report

    world = responding(answer, replace(UNREVIEWED, review_rounds=1))

    def checks(_pull: PullRequest) -> tuple[Check, ...]:
        if said and world.count("ReviewsAnswered") == 2 - len(said):
            there = "t1.1" if world.forge.pulls[1].threads else ""
            world.forge.remark(1, said.pop(0), thread=there)
        return GREEN

    world.forge.checks = checks
    assert asyncio.run(world.drive()) is Ending.BLOCKED
    halt = world.run.halt
    assert halt is not None
    assert halt.reason == (
        "c1: no agreement after 1 review rounds: t1.1: ada: “Louder, I said.”; answered: “It is loud.”"
    )


def test_more_remarks_than_a_session_is_shown_are_answered_in_the_next() -> None:
    def answer(world: World) -> SessionReport:
        report = replies("fixed")(world)
        assert report.answer is not None
        shown = [r for r in report.answer["replies"] if r["thread_id"] in world.agent.requests[-1].prompt]
        return answered({**report.answer, "replies": shown[:SHOWN]})

    def remarks() -> None:
        for n in range(SHOWN + 1):
            world.forge.remark(1, f"Remark {n}.")

    world = responding(answer)
    once(world, remarks)
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert [len(r.data["answered"]) for r in world.records if r.type == "ReviewsAnswered"] == [SHOWN, 1]
    assert all(t.resolved for t in world.forge.pulls[1].threads.values())


class Interrupted(MemoryForge):
    """A person speaks after the last look, just before the merge."""

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        """Let them, once."""
        if not self.pulls[number].threads:
            self.remark(number, "Wait!")
            outcome = await super().merge(number, head, base, method)
            assert outcome == Opposed()
            return outcome
        return await super().merge(number, head, base, method)


def test_who_speaks_just_before_the_merge_is_heard() -> None:
    world = responding(replies("fixed"))
    world.forge = Interrupted(world.repository, world.fault)
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert world.events.index("ReviewsAnswered") < world.events.index("PullRequestMerged")


def test_records_that_cannot_be_kept_still_hold_a_merge_back_in_a_sentence(records: ForgeJournal) -> None:
    records.path.unlink()
    records.path.mkdir()
    with pytest.raises(ForgeError, match="cannot be written"), records.unopposed(1):
        pass
