"""`claudetm plan`: the plan with its state; edited, approved or sent back by a person."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import typer

from claudetm.cli.chosen import aimed

if TYPE_CHECKING:
    from pathlib import Path

    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.plan.model import Plan
    from claudetm.workflow.run import Run

app = typer.Typer(help="Show the plan: changes, tasks and criteria; or edit, approve or reject it.")


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: bool = typer.Option(False, "--json", help="Print the plan as JSON; `plan edit --file` takes it."),
) -> None:
    """Show the plan: changes, tasks and criteria; or edit, approve or reject it."""
    from claudetm.cli.state import find, load
    from claudetm.cli.state import show as show_markdown

    if context.invoked_subcommand is not None:
        return
    run = load(find())
    if as_json:
        import json

        from claudetm.plan.model import plan_to_data

        print(json.dumps({"based_on": run.plan_seq, **plan_to_data(run.plan)}, indent=2))
        return
    from claudetm.workflow.markdown import plan_markdown

    show_markdown(plan_markdown(run))


@app.command()
def edit(
    file: str = typer.Option("", "--file", help="Take the plan, YAML or JSON, from a file, or from `-`."),
) -> None:
    """Edit the plan in $VISUAL or $EDITOR. What has begun stays; the rest can be changed at any time."""
    from claudetm.cli.state import find, load

    state = find()
    run = load(state)
    _refuse_closed(run)
    if file:
        _hand_in_file(state, run, file)
    else:
        _edit_with_editor(state, run)


@app.command()
def approve() -> None:
    """Approve the plan of a run that was started with --approve-plan; `claudetm resume` does that, too."""
    from claudetm.cli.state import find, load, send

    state = find()
    _refuse_no_proposal(load(state), "approve")
    print(f"plan approve: {send(state, 'approve', {})}")
    print(aimed("next: claudetm resume"))


@app.command()
def reject(why: str = typer.Argument(help="What is wrong with the plan; the planner is told.")) -> None:
    """Send the plan back: `claudetm resume` plans again, with your reason."""
    from claudetm.bootstrap.texts import check_text
    from claudetm.cli.state import find, load, send

    reason = check_text("reason", why, 'say what is wrong, as in `claudetm plan reject "no new command"`')
    state = find()
    _refuse_no_proposal(load(state), "reject")
    print(f"plan reject: {send(state, 'reject', {'reason': reason})}")
    print(aimed("next: claudetm resume"))


def _refuse_closed(run: Run) -> None:
    from claudetm.errors import UsageError
    from claudetm.workflow.stages import Phase

    if run.phase not in {Phase.PLANNED, Phase.WORKING}:
        raise UsageError(f"The plan cannot be edited while the run is {run.phase}; `claudetm status` shows it")


def _refuse_no_proposal(run: Run, what: str) -> None:
    from claudetm.errors import UsageError
    from claudetm.workflow.stages import Phase

    if run.phase is not Phase.PLANNED:
        raise UsageError(f"There is no plan to {what}: the run is {run.phase}; `claudetm status` shows it")


# --- editing ---------------------------------------------------------------------------------------------------


def _hand_in_file(state: StateDirectory, run: Run, file: str) -> None:
    from claudetm.cli.plan_draft import parse
    from claudetm.errors import UsageError
    from claudetm.plan.draft import UnusableDraft

    try:
        plan, based_on = parse(_read(file), run.plan)
    except UnusableDraft as unusable:
        raise UsageError(str(unusable)) from None
    _hand_in(state, run, plan, based_on, kept="")


def _read(file: str) -> str:
    """Return a file's text, or what stands in standard input. Raises UsageError."""
    import sys
    from pathlib import Path

    from claudetm.errors import UsageError

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; name a file with the plan") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("The plan is not UTF-8 text; write it in UTF-8") from None


def _edit_with_editor(state: StateDirectory, run: Run) -> None:
    """Open the editor until the plan can be taken or the person gives up; a draft that was not taken is kept.

    They give up who hand the same in again. Without a terminal nobody may be there to end it, so it opens once.
    """
    import sys

    from claudetm.adapters.store.directory import write_atomically
    from claudetm.cli.plan_draft import parse, render, with_problem
    from claudetm.engine.inbox import edits
    from claudetm.errors import UsageError
    from claudetm.plan.draft import UnusableDraft
    from claudetm.workflow.legality import IllegalEvent

    editor = _editor()
    draft = state.root / f"plan-{run.plan_seq}-{os.getpid()}.yaml"
    shown, problem = render(run), ""
    refused: str | None = None
    somebody = sys.stdin is not None and sys.stdin.isatty()
    while True:
        write_atomically(draft, shown)
        _open(editor, draft)
        text = _read(str(draft))
        if text in (shown, refused):
            if problem:
                raise UsageError(f"{problem}; the plan is as it was, and your draft is kept: {_take(draft)}")
            draft.unlink()
            print("plan edit: nothing changed")
            return
        try:
            plan, based_on = parse(text, run.plan)
            if based_on == run.plan_seq:
                edits(run, plan, based_on)
        except (UnusableDraft, IllegalEvent) as error:
            problem, refused = str(error).rstrip("."), text
            if not somebody:
                raise UsageError(
                    f"{problem}; the plan is as it was, and your draft is kept: {_take(draft)}"
                ) from None
            shown = with_problem(text, problem)
            continue
        if _hand_in(state, run, plan, based_on, kept=_take(draft)):
            draft.unlink()
        else:  # the driver may refuse it still
            print(f"your draft is kept: {draft}")
        return


def _take(draft: Path) -> str:
    import shlex

    return f"`claudetm plan edit --file {shlex.quote(str(draft))}` takes it"


def _editor() -> list[str]:
    import shlex
    import shutil

    from claudetm.errors import UsageError

    for name in ("VISUAL", "EDITOR"):
        if os.environ.get(name, "").strip():
            return shlex.split(os.environ[name])
    for name in ("editor", "nano", "vi"):
        if found := shutil.which(name):
            return [found]
    raise UsageError(
        "There is no editor: set VISUAL or EDITOR, or pass the plan with `claudetm plan edit --file FILE`"
    )


def _open(editor: list[str], draft: Path) -> None:
    import subprocess

    from claudetm.errors import UsageError

    try:
        code = subprocess.run([*editor, str(draft)], check=False).returncode
    except OSError as error:
        raise UsageError(
            f"{editor[0]} cannot be started: {error.strerror}; set VISUAL or EDITOR to your editor"
        ) from None
    if code:
        raise UsageError(
            f"{editor[0]} ended with exit code {code}; the plan is as it was, your draft: {_take(draft)}"
        )


def _hand_in(state: StateDirectory, run: Run, plan: Plan, based_on: int, kept: str) -> bool:
    """Send the edited plan to the run; return whether it has been taken, and does not wait for the driver.

    Raises UsageError, with how what was typed is `kept`, when it is refused.
    """
    from claudetm.cli.state import load, send
    from claudetm.engine.inbox import edits
    from claudetm.errors import UsageError
    from claudetm.plan.model import plan_to_data
    from claudetm.workflow.legality import IllegalEvent

    if (plan, based_on) == (run.plan, run.plan_seq):
        print("plan edit: nothing changed")
        return True
    now = load(state)
    if based_on != now.plan_seq:
        _refuse_stale(now, based_on, kept)
    try:
        edits(now, plan, based_on)
        told = send(state, "edit_plan", {"plan": plan_to_data(plan), "based_on": based_on})
    except (IllegalEvent, UsageError) as refused:
        now = load(state)
        if based_on != now.plan_seq:
            _refuse_stale(now, based_on, kept)
        sentence = str(refused).rstrip(".") + (f"; your draft is kept: {kept}" if kept else "")
        raise UsageError(sentence) from None
    print(f"plan edit: {told}")
    for line in _differences(now, plan):
        print(line)
    if now.halt is not None:
        print(aimed("next: claudetm resume"))
    return told == "done"


def _refuse_stale(now: Run, based_on: int, kept: str) -> NoReturn:
    """Show the plan as it is now, and refuse one that is based on another. Raises UsageError."""
    from claudetm.cli.state import show as show_markdown
    from claudetm.errors import UsageError
    from claudetm.workflow.markdown import plan_markdown

    show_markdown(plan_markdown(now))
    more = f"; your draft is kept: {kept}" if kept else ""
    raise UsageError(
        f"The plan has changed since (it is at {now.plan_seq} now, the edit is based on {based_on}); it is shown"
        f" above: bring your edit in line with it and set based_on to {now.plan_seq}{more}"
    )


def _differences(before: Run, plan: Plan) -> list[str]:
    """Return what the edit does, a line a change or criterion."""
    from claudetm.workflow.stages import Stage

    old = {c.id: c for c in before.plan.changes}
    new = {c.id: c for c in plan.changes}
    lines = [f"added: {i}" for i in new if i not in old]
    lines += [f"changed: {i}" for i, c in new.items() if i in old and old[i] != c]
    for i in [i for i in old if i not in new]:
        state = before.changes[i]
        if state.stage is Stage.QUEUED:
            lines.append(f"removed: {i}")
        else:
            left = f"; pull request #{state.number} is left open" if state.number else ""
            lines.append(f"dropped: {i}{left}")
    if [i for i in old if i in new] != [i for i in new if i in old]:
        lines.append(f"order: {', '.join(new)}")
    was, is_ = {k.id: k for k in before.plan.criteria}, {k.id: k for k in plan.criteria}
    lines += [f"added: {i}" for i in is_ if i not in was]
    lines += [f"changed: {i}" for i, k in is_.items() if i in was and was[i] != k]
    return lines + [f"removed: {i}" for i in was if i not in is_]
