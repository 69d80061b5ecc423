"""What `claudetm status --criteria` prints: each criterion with its receipt, and whether the target has moved on."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from claudetm.plan.model import Criterion
from claudetm.redact import printable, redact
from claudetm.workflow.run import Receipt, Run
from claudetm.workflow.stages import Mode, Phase

_WIDTH: Final = 80
_INDENT: Final = " " * 4
_LABEL: Final = 10  # columns
_MOST: Final = 600  # characters of one fact


def receipts(run: Run, target: str | None, moved: bool) -> Iterator[str]:
    """Yield the lines, in 80 columns. `target` is where the target branch stands, None where that cannot be read.

    `moved` says whether it has commits that the verified one lacks.
    """
    if run.mode is not Mode.GOAL:
        yield f"A {run.mode} has no criteria{': its work is audited' * (run.mode is Mode.SESSION)}."
        return
    if not run.plan.criteria:
        yield "The plan has no criteria yet."
    if not run.policy.verify:
        yield "Verification is off for this run: no criterion is judged."
    for criterion in run.plan.criteria:
        receipt = run.receipts.get(criterion.id)
        yield from _wrapped(
            f"{criterion.id} {receipt.verdict if receipt else 'not checked'}: ", _plain(criterion.text), "  "
        )
        for label, text in _facts(run, criterion, receipt):
            yield from _wrapped(f"{_INDENT}{label:<{_LABEL}}", text, _INDENT + " " * _LABEL)
    if run.receipts:
        yield from _since(run, target, moved)


def _facts(run: Run, criterion: Criterion, receipt: Receipt | None) -> Iterator[tuple[str, str]]:
    if criterion.id in run.guards:
        yield "guard", "it held before the work: it must still hold, and proves nothing new"
    command = receipt.command if receipt else criterion.command
    if command:
        yield "command", _plain(command)
    if receipt is None:
        return
    if receipt.command:
        yield "exit code", "none" if receipt.exit_code is None else str(receipt.exit_code)
        yield "sha256", receipt.output_sha256
        yield "log", receipt.log
    yield "commit", receipt.commit
    yield from (("evidence", _plain(e)) for e in receipt.evidence)
    if receipt.missing:
        yield "missing", _plain(receipt.missing)


def _since(run: Run, target: str | None, moved: bool) -> Iterator[str]:
    """Yield what has happened since the receipts were made."""
    commit = run.verify_commit
    if run.phase is Phase.WORKING:
        yield from _wrapped("", f"Work goes on since then: the criteria are judged again after {commit[:10]}.", "")
    elif moved and target:
        text = f"The target is now at {target[:10]} ({run.target}), which has commits that {commit[:10]} lacks."
        yield from _wrapped("", text, "")


def _wrapped(first: str, text: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False, break_long_words=True
    ) or [first.rstrip()]


def _plain(text: str) -> str:
    line = " ".join(redact(printable(text)).split())
    return line if len(line) <= _MOST else f"{line[: _MOST - 1]}…"


def target_of(root: Path, run: Run) -> tuple[str | None, bool]:
    """Return where the target stands in the repository at `root`, and whether the verified commit lacks that."""
    from claudetm.adapters.git.git import ENVIRONMENT, QUIET, GitFailed
    from claudetm.adapters.git.git import run as git

    if not run.receipts:
        return None, False
    begin = ["git", *QUIET, "-C", str(root)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT}
    try:
        name = f"refs/heads/{run.target}^{{commit}}"
        tip = git([*begin, "rev-parse", "--verify", "--quiet", "--end-of-options", name], environment).text
        ancestry = [*begin, "merge-base", "--is-ancestor", tip, run.verify_commit]
        return tip, bool(git(ancestry, environment, accept=(0, 1)).code)
    except GitFailed:
        return None, False  # neither a repository that is gone nor a branch is this command's to complain of
