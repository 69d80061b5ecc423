"""A run's pull requests as its journal alone tells them, for commands that could not ask GitHub."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from claudetm.cli.pulls import Awaits, one_line, tell, tell_address, tell_awaited

if TYPE_CHECKING:
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.workflow.limits import Wait
    from claudetm.workflow.run import ChangeState, Run

_REMARKS = frozenset({"ReviewsReceived", "ReviewsAnswered"})


def tell_known(state: StateDirectory, run: Run, present: Wait | None, number: int | None, *, remarks: bool) -> None:
    """Print what is known of one pull request, or of all; with `remarks`, what was heard of the conversations."""
    known = [c for c in run.changes.values() if c.number and number in {None, c.number}]
    if known:
        print("From the journal alone:")
    for change in known:
        tell(one_line(f"#{change.number} {change.id}: {change.plan.title}"), hang=4)
        if remarks:
            _tell_remarks(state, run, change)
        else:
            _tell_standing(run, change)
    if known and present is not None:
        tell_awaited(Awaits(f"the driver, which waits: {present.why}", until=present.until))


def _tell_standing(run: Run, change: ChangeState) -> None:
    over = f"; the run is {run.phase}" if run.finished else ""
    by = f" by {change.merged_by}" if change.merged_by else ""
    stands = f"merged as {change.merge_commit[:10]}{by}" if change.merge_commit else str(change.stage)
    tell(f"stage: {stands}{', held' if change.hold else ''}{over}", 4, 2)
    tell(f"branch: {change.branch} at {change.head[:10]}", 4, 2)
    if change.url:
        tell_address(f"url: {change.url}", 4)
    if change.hold is not None:
        tell_awaited(Awaits(change.hold.reason, change.hold.next), 4)


def _tell_remarks(state: StateDirectory, run: Run, change: ChangeState) -> None:
    """Print when remarks came and were answered: what they say, GitHub alone has."""
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.cli.words import told

    heard = [r for r in FileJournal(state.journal).read() if r.type in _REMARKS and r.data["change"] == change.id]
    for record in heard:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.time))
        tell(f"{at} {told(run, record.type, record.data)}", 4, 2)
    if not heard:
        tell("no remark to answer was read yet", 4)
    if change.url:
        tell_address(change.url, 4)
