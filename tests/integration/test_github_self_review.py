"""The reviewer role on GitHub: each finding is a conversation, answered and closed there, on whatever it is about."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claudetm.engine.loop import Ending
from claudetm.ports.agent import Role, SessionReport, SessionRequest
from github_double.double import Double
from github_run import GithubRun, Hours, honest
from world import answered


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GithubRun]:
    clock = Hours()
    with Double(tmp_path / "github", clock.now) as github:
        made = GithubRun(tmp_path, github, clock)
        made.configured(self_review=True)
        yield made


def finding(claim: str, path: str, line: int, severity: str = "blocking") -> dict[str, Any]:
    about = {"claim": claim, "path": path, "line": line, "severity": severity}
    return {**about, "failure": "Say it, and hear it.", "confidence": "high"}


FINDINGS = [
    finding("It is loud, @ada.", "c1.t1.txt", 1),
    finding("It ends too soon.", "c1.t1.txt", 99),  # the file is in the diff, the line is not
    finding("Nobody is told.", "README.md", 1),  # the file is not in the diff
    finding("A word is missing.", "c1.t1.txt", 1, "minor"),
]


async def finds(world: GithubRun, request: SessionRequest) -> SessionReport:
    """Find all that once, and then that all of it was mended; of the README, that it is as it shall be."""
    held = world.roles.count("reviewer")
    if request.role is Role.REVIEWER and held == 1:
        return answered({"findings": FINDINGS, "earlier": [], "examined": ["everything"]})
    if request.role is Role.REVIEWER:
        mended = [{"id": i, "fixed": True} for i in re.findall(r"(?:PRRT_|comment-)[\w-]+", request.prompt)]
        return answered({"findings": [], "earlier": list({m["id"]: m for m in mended}.values()), "examined": ["all"]})
    report = await honest(world, request)
    if request.role is Role.RESPONDER:
        replies = (report.answer or {})["replies"]
        for reply in replies:
            if reply["thread_id"].startswith("comment-"):
                reply |= {"outcome": "declined", "text": "It is told in the manual, closes #7."}
    return report


def test_every_finding_is_answered_and_closed_wherever_it_is(world: GithubRun) -> None:
    world.play = finds
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert world.roles.count("responder") == 1
    assert world.roles.count("reviewer") == 2
    found = {t.comments[0].body.partition("\n")[0]: t for t in world.only.threads}
    assert {claim: (t.subject, t.path, len(t.comments)) for claim, t in found.items()} == {
        "It is loud, `@ada`.": ("line", "c1.t1.txt", 2),
        "It ends too soon.": ("file", "c1.t1.txt", 2),
        "A word is missing.": ("line", "c1.t1.txt", 1),
    }
    assert [t.resolved_by for t in found.values() if len(t.comments) == 2] == ["octo", "octo"]
    said, answer = (c.body for c in world.comments(world.only.number))
    assert said.startswith("`README.md:1`: Nobody is told.")
    assert answer.startswith("> `README.md:1`: Nobody is told.")
    assert "It is told in the manual, closes `#7`." in answer
    assert world.only.state == "closed"
    assert world.only.status == "MERGED"


def test_an_outage_while_findings_are_posted_posts_each_once_and_reads_once(world: GithubRun) -> None:
    world.play = finds
    world.github.faults.fail("POST /repos/*/pulls/*/comments", 502, times=5)
    world.github.faults.lose_answer("POST /repos/*/issues/*/comments")
    assert asyncio.run(world.drive()) is Ending.VERIFIED
    assert world.roles.count("reviewer") == 2
    assert sorted(t.comments[0].body.partition("\n")[0] for t in world.only.threads) == [
        "A word is missing.",
        "It ends too soon.",
        "It is loud, `@ada`.",
    ]
    assert len(world.comments(world.only.number)) == 2
