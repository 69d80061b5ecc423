"""`claudetm stop`: sessions are interrupted, what they did is kept; with --cancel the run is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.workflow.run import Run


def command(
    cancel: bool = typer.Option(False, "--cancel", help="Give the run up; open pull requests are listed and left."),
    close: bool = typer.Option(
        False, "--close", help="With --cancel: close the run's open pull requests, but one that fix-pr took over."
    ),
) -> None:
    """Interrupt running sessions; what they did is kept. `claudetm resume` carries on."""
    from claudetm.cli.state import find, load, send
    from claudetm.errors import UsageError

    if close and not cancel:
        raise UsageError("--close goes with --cancel: `claudetm stop --cancel --close` gives the run up for good")
    state = find()
    if not cancel:
        print(f"stop: {send(state, 'stop', {})}")
        return
    run = load(state)
    if close and not _is_cancelled(run):
        _refuse_unreachable(state, run)
    if not (close and _is_cancelled(run)):  # called again, it closes what is open still
        print(f"stop: {send(state, 'cancel', {})}")
    run = load(state)
    if close and not run.finished:
        raise UsageError("The driver has not taken the cancel yet; call the same again to close the pull requests")
    _tell_open(state, run, close=close)


def _is_cancelled(run: Run) -> bool:
    from claudetm.workflow.stages import Phase

    return run.phase is Phase.CANCELLED


def _refuse_unreachable(state: StateDirectory, run: Run) -> None:
    """Raise ClaudetmError where the pull requests cannot be closed from here, before anything is given up."""
    from claudetm.cli.pulls import look_of
    from claudetm.errors import ClaudetmError, UsageError

    try:
        look_of(state, run).pulls()
    except ClaudetmError as error:
        raise UsageError(
            f"{str(error).rstrip('.')}. Nothing was cancelled or closed: `claudetm stop --cancel`, without --close, "
            "cancels now"
        ) from error


def _tell_open(state: StateDirectory, run: Run, *, close: bool) -> None:
    """List the pull requests that are open, and close them where that is asked for."""
    from claudetm.cli.pulls import clean, look_of
    from claudetm.workflow.pull_request import PullRequestState

    if run.forge != "local" and not close:  # the journal knows them, in reach or not
        for change in run.changes.values():
            if change.number and not change.settled:
                print(clean(f"left open: #{change.number} {change.url or change.branch}"))
        return
    look, left = look_of(state, run), []
    for seen in look.pulls():
        if seen.pull.state is PullRequestState.OPEN:
            ours = seen.pull.number != run.adopts
            stands = look.withdraw(seen.pull.number) if close and ours else "left open"
            made = "" if ours else ", which was made elsewhere"
            print(clean(f"{stands}: #{seen.pull.number} {seen.pull.url or seen.pull.branch}{made}"))
            left += [seen.pull.branch] if close and ours and not seen.gone else []
    if left and run.forge != "local":
        from claudetm.cli.branches import deletion

        what = "its branch is" if len(left) == 1 else "their branches are"
        print(f"{what} left: {deletion(state.repository, run, left)}")
