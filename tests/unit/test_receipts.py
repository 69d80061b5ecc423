"""Receipts: what people are shown of them, in the terminal and as a file, now and in history/."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claudetm.adapters.store.directory import KEPT, RECEIPTS, StateDirectory, render
from claudetm.cli.receipts import receipts
from claudetm.engine.loop import Ending
from claudetm.plan.model import Criterion
from claudetm.ports.commands import CommandResult
from claudetm.testing.memory import MemoryCommands
from claudetm.workflow import events as e
from claudetm.workflow.markdown import receipts_markdown, state_data
from claudetm.workflow.policy import policy_to_data
from claudetm.workflow.run import Run
from story import Story, plan
from world import World, play, proposal

COMMIT = "c" * 40
HASH = hashlib.sha256(b"greeted\n").hexdigest()
LONG = "python3 -c 'from greet import greet; " + "assert greet(); " * 9 + "'"
HELD = e.CriterionChecked("k1", "holds", COMMIT, LONG, 0, HASH, "logs/criteria/k1-cccccccccccc.txt")
JUDGED = e.CriterionChecked("k2", "unproven", COMMIT, evidence=("README.md:1", "make help"), missing="say so")


def judged(*events: e.Event) -> Run:
    """Return a run of three criteria whose work is done; the first is a guard, the last not checked yet."""
    criteria = (
        Criterion("k1", "It *works*", LONG),
        Criterion("k2", "It is told"),
        Criterion("k3", "It is fast", "t"),
    )
    story = Story(
        e.RunStarted("r1", "Make it work", "main", "b" * 40), e.PlanProposed(plan(criteria=criteria), ("k1",))
    )
    story.tell(e.PlanApproved(), e.ChangeStarted("c1", "claudetm/c1", "b" * 40), e.ChangeDropped("c1", "enough"))
    return story.tell(e.VerificationStarted(COMMIT), HELD, JUDGED, *events).run


def shown(run: Run, target: str | None = None, *, moved: bool = False) -> str:
    lines = list(receipts(run, target, moved))
    assert max(map(len, lines)) <= 80
    return "\n".join(lines)


def test_each_criterion_is_shown_with_all_of_its_receipt() -> None:
    text = shown(judged())
    assert "k1 holds: It *works*\n" in text
    assert "k2 unproven: It is told\n" in text
    assert "k3 not checked: It is fast\n    command   t" in text
    for fact in (
        "guard     it held before the work",
        "exit code 0",
        f"sha256    {HASH}",
        "log       logs/criteria/k1-cccccccccccc.txt",
        f"commit    {COMMIT}",
        "evidence  README.md:1",
        "evidence  make help",
        "missing   say so",
    ):
        assert f"    {fact}" in text
    assert " ".join(text.split()).count(" ".join(LONG.split())) == 1  # whole, though folded
    assert text.count("guard") == 1


def test_a_target_that_moved_on_is_told() -> None:
    assert "The target is now at dddddddddd (main), which has commits that" in shown(judged(), "d" * 40, moved=True)
    assert "now at" not in shown(judged(), "d" * 40)
    assert "now at" not in shown(judged(), None)


def test_receipts_of_before_the_mending_say_so() -> None:
    run = judged(e.CriteriaFailed(("k2",), COMMIT), e.PlanExtended(plan().changes[:0] or (_more(),)))
    assert "Work goes on since then" in shown(run)


def _more() -> Any:
    return replace(plan().changes[0], id="c2", tasks=tuple(replace(t, id="c2.t1") for t in plan().changes[0].tasks))


def test_a_run_without_verification_says_so() -> None:
    settings = {**policy_to_data(Run().policy), "verify": False}
    run = Story(e.RunStarted("r1", "Work", "main", "b" * 40, settings), e.PlanProposed(plan())).run
    assert "Verification is off for this run" in shown(run)
    assert shown(Story(e.RunStarted("r1", "Work", "main", "b0")).run) == "The plan has no criteria yet."


def test_what_a_criterion_printed_shows_no_secret_and_moves_no_cursor() -> None:
    shouted = replace(JUDGED, missing="\x1b[31mAuthorization: Bearer abcdefghijklmnop\x1b[0m")
    text = shown(judged(shouted))
    assert "abcdefghijklmnop" not in text
    assert "\x1b" not in text


def test_the_receipts_file_lets_everybody_check_again() -> None:
    text = receipts_markdown(judged(e.CriteriaFailed(("k2",), COMMIT)))
    assert "## k1: It \\*works\\*\n\n- Verdict: holds (it held before the work)\n" in text
    assert f"- Commit: {COMMIT}\n- Command: `{' '.join(LONG.split())}`\n- Exit code: 0\n" in text
    assert f"- Output: sha256 {HASH}, in `logs/criteria/k1-cccccccccccc.txt`" in text
    assert "- Verdict: unproven\n" in text
    assert "- Evidence: README.md:1\n- Evidence: make help\n- Missing: say so\n" in text
    assert "## k3: It is fast\n\n- Verdict: not checked\n" in text


def test_the_state_as_data_has_the_receipts_too() -> None:
    first, second, third = state_data(judged())["criteria"]
    assert (first["guard"], first["exit_code"], first["output_sha256"], first["log"]) == (True, 0, HASH, HELD.log)
    assert (second["evidence"], second["missing"]) == (["README.md:1", "make help"], "say so")
    assert (third["verdict"], third["exit_code"]) == ("", None)


def test_there_is_no_receipts_file_before_there_is_a_receipt() -> None:
    assert RECEIPTS not in render(Story(e.RunStarted("r1", "Work", "main", "b0")).run)
    assert RECEIPTS in render(judged())


@pytest.mark.parametrize("stale", ["", "from before the last criterion\n"])
def test_history_has_the_receipts_of_the_journal_though_the_driver_was_killed(stale: str, tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / ".claude-task-master")
    state.create()
    if stale:
        (state.root / RECEIPTS).write_text(stale)
    log = state.logs / "criteria" / "k1-cccccccccccc.txt"
    log.parent.mkdir()
    log.write_text("greeted\n")
    run = judged()
    state.keep_logs(run.id)
    archived = state.archive(run.id, KEPT | {"logs"}, run)
    assert (archived / RECEIPTS).read_text() == receipts_markdown(run)
    # what the receipt names is there, and its hash is that of the log
    assert hashlib.sha256((archived / HELD.log).read_bytes()).hexdigest() == HELD.output_sha256
    assert not (state.root / RECEIPTS).exists()


def test_a_criterion_that_could_not_be_run_names_how_it_ended() -> None:
    world = World(plan=proposal(criteria=[{"text": "It is quick", "command": "slow"}]))

    class Slow(MemoryCommands):
        async def run(self, request: Any, stop: Any = None) -> CommandResult:
            done = await super().run(request, stop)
            return replace(done, exit_code=None, timed_out=True, seconds=900.0, output="half\x1b[1m way\n")

    world.commands = Slow()
    assert play(world) is Ending.BLOCKED
    receipt = world.run.receipts["k1"]
    assert (receipt.verdict, receipt.exit_code) == ("fails", None)
    assert receipt.missing == "ended after 900 seconds: the time limit\nhalf way"


def test_after_the_last_round_the_run_is_blocked_with_the_evidence_and_resume_gives_new_rounds() -> None:
    world = World()
    world.commands.answer = lambda _request: 1
    assert play(world) is Ending.BLOCKED
    rounds = world.policy.verify_rounds
    assert world.count("PlanExtended") == rounds
    halt = world.run.halt
    assert halt is not None
    assert f"criteria fail after {rounds} rounds of mending: k1 (People are greeted): exit code 1" in halt.reason
    assert halt.next == "claudetm status --criteria"
    asyncio.run(world.drive())
    assert world.count("PlanExtended") == 2 * rounds
