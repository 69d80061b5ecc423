"""`claudetm monitor apply`: what a task's session has made, into the checkout, uncommitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from claudetm.cli.monitor.options import NAME, WORKING_DIR

if TYPE_CHECKING:
    from claudetm.adapters.git.applying import Outcome
    from claudetm.workflow.run import Kept, Run

_NAMED = 5  # paths


def command(
    task: str = typer.Argument(help="The task whose work is brought."),
    working_dir: Path = WORKING_DIR,
    name: str = NAME,
    as_json: bool = typer.Option(False, "--json", help="Print what was written as JSON."),
) -> None:
    """Bring what a task's session has made into the checkout, uncommitted. Called again, it changes nothing more."""
    from dataclasses import replace

    from claudetm.adapters.git.applying import bring
    from claudetm.adapters.git.user_refs import UserRefs
    from claudetm.adapters.git.user_repository import locate
    from claudetm.cli.state import here, load, task_state
    from claudetm.errors import UsageError

    state = task_state(task, working_dir, name)
    run = load(state)
    kept = _kept(task, run)
    user = UserRefs(*locate(here()), run.author)
    if (found := user.find(kept.ref)) is None:
        raise UsageError(f"{kept.ref}, where the work of {task} was kept, is gone; let the task run again")
    outcome = bring(user, run.base, found.commit)
    _tell(task, replace(kept, commit=found.commit), run.base, outcome, as_json=as_json)


def _kept(task: str, run: Run) -> Kept:
    """Return where the work is. Raises UsageError where there is none to bring."""
    from claudetm.errors import UsageError
    from claudetm.workflow.run import Kept
    from claudetm.workflow.stages import Mode

    if run.mode is not Mode.SESSION:
        raise UsageError(f"{task} was not worked in one session, so nothing of it is kept to be applied")
    if run.kept is None and not run.finished and run.halt is None:
        raise UsageError(f"{task} has not ended yet: `claudetm --task {task} status` shows how far it is")
    kept = run.kept or Kept(run.snapshot, "")  # what was never good enough to be kept is in its last snapshot
    if not kept.ref:
        raise UsageError(f"{task} has changed nothing, so there is nothing to apply")
    return kept


def _tell(task: str, kept: Kept, base: str, outcome: Outcome, *, as_json: bool) -> None:
    from claudetm.adapters.git.applying import Applied, InPlace, InTheWay
    from claudetm.errors import UsageError
    from claudetm.redact import printable

    match outcome:
        case InTheWay(why, paths):
            first = printable(", ".join(paths[:_NAMED]))
            named = f": {first}{', …' if len(paths) > _NAMED else ''}" if paths else ""
            name, picked = kept.branch or kept.ref, f"{base[:12]}..{kept.commit[:12]}"  # it may be many commits
            raise UsageError(
                f"The work of {task} was not brought in, and nothing was changed, as {why}{named}; commit or set "
                f"aside what is yours and call the same again, or merge it by hand: `git merge {name}`, "
                f"`git cherry-pick {picked}`"
            )
        case Applied(paths) if not as_json:
            print("\n".join(f"written: {printable(path)}" for path in paths))
            print("nothing is committed: `git diff --cached` shows it, `git restore -SW FILE` takes a file back")
        case InPlace() if not as_json:
            print(f"the work of {task} is in the checkout already; nothing was changed")
        case _:
            import json

            written = outcome.paths if isinstance(outcome, Applied) else ()
            print(json.dumps({"task": task, "ref": kept.ref, "commit": kept.commit, "written": list(written)}))
