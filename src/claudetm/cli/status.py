"""`claudetm status`: where the run stands. Asks no forge; no lock, no heavy library, exit 0 throughout."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from claudetm.cli.chosen import aimed

if TYPE_CHECKING:
    from rich.text import Text

    from claudetm.workflow.limits import Wait
    from claudetm.workflow.run import Run


def command(
    as_json: bool = typer.Option(False, "--json", help="Print the state as JSON."),
    criteria: bool = typer.Option(False, "--criteria", help="Show each criterion with its receipt."),
    everything: bool = typer.Option(False, "--all", help="Show every change, however low the terminal is."),
) -> None:
    """Show where the run stands."""
    from claudetm.adapters.store.directory import present_wait
    from claudetm.adapters.store.lock import holder
    from claudetm.cli.state import find, load
    from claudetm.cli.waits import unpushed

    state = find()
    run = load(state)
    driver = holder(state.lock)
    present = present_wait(state, driver.pid if driver else 0, time.time())
    if as_json:
        import json

        print(json.dumps(_data(run, driver.pid if driver else None, present), indent=2))
    elif criteria:
        from claudetm.cli.receipts import receipts, target_of

        print("\n".join(receipts(run, *target_of(state.repository, run))))
    else:
        _print_status(run, driver.pid if driver else 0, present, everything=everything)
        for change in run.active.values():
            if work := unpushed(state, run, change):
                print(work)


def _data(run: Run, pid: int | None, present: Wait | None) -> dict[str, Any]:
    """Return the state as JSON values: times in epoch seconds, `driver` a process id or null."""
    from claudetm.cli.waits import waits
    from claudetm.workflow.markdown import state_data

    now = [
        {"session": s.id, "role": s.role, "subject": s.subject, "change": s.change or None, "since": s.started}
        for s in run.open_sessions.values()
        if pid is not None
    ]
    waiting = [{"why": w.why, "until": w.until} for w in waits(run, time.time(), present)]
    return {**state_data(run), "driver": pid, "now": now, "waits": waiting}


def _print_status(run: Run, pid: int, present: Wait | None, *, everything: bool) -> None:
    import shutil

    from rich.console import Console, Group

    from claudetm.cli.board import rows
    from claudetm.cli.panel import change_lines, cut

    console = Console(highlight=False)
    top: list[Text] = [cut(_one_line(run.goal, 400), "bold"), *_texts(f"{run.id}: {standing(run, pid)}", _spent(run))]
    below = [*_going_on(run, pid, present), *_ends(run, pid)]
    taken = sum(len(console.render_lines(line, pad=False)) for line in (*top, *below))
    lines = shutil.get_terminal_size().lines
    room = len(run.changes) if everything else max(lines - taken - _BESIDE, _LEAST_ROWS)
    shown, rest = rows(run, room)
    table = change_lines(run, shown, {s.change for s in run.open_sessions.values()} if pid else ())
    table += [cut(f"  {rest}")] if rest else []
    blank = _texts("") if table else []
    console.print(Group(*top, *blank, *table, *(blank if below else []), *below))


_LEAST_ROWS = 3
_BESIDE = 5  # two blank lines; what `watch` and a prompt take


def _texts(*lines: str) -> list[Text]:
    from rich.text import Text

    return [Text(line) for line in lines]


def _going_on(run: Run, pid: int, present: Wait | None) -> list[Text]:
    """Return what a living driver is at, why the run waits, and what is held."""
    from claudetm.cli.panel import at_work, cut, held_lines, waiting
    from claudetm.cli.waits import waits

    now = time.time()
    sessions = list(run.open_sessions.values()) if pid else []
    lines = [cut(f"now: {at_work(run, s, now)}; {aimed('claudetm logs')} --session {s.id[:8]}") for s in sessions]
    return [*lines, *_texts(*(waiting(w, now) for w in waits(run, now, present))), *held_lines(run)]


def _ends(run: Run, pid: int) -> list[Text]:
    from rich.text import Text

    from claudetm.cli.panel import judged
    from claudetm.redact import printable, redact

    lines = []
    if run.plan.criteria:
        at = f" at {run.verify_commit[:10]}" if run.receipts else ""
        lines += _texts(f"criteria: {judged(run)}{at}")
    if run.audit is not None:
        lines += _texts(f"audit: {run.audit.score} of 100; {_one_line(run.audit.notes, 400)}".removesuffix("; "))
    if said := run.report or run.answer:
        lines += [Text(redact(printable(line))) for line in ["", *said.splitlines(), ""]]
    if run.halt is not None:
        lines.append(Text.assemble((str(run.halt.kind), "bold"), f": {_one_line(run.halt.reason, 400)}"))
        lines += _texts(f"next: {_one_line(aimed(run.halt.next), 400)}")
    elif run.landing_next:
        lines += _texts(f"next: {_one_line(run.landing_next, 400)}")
    elif not pid and not run.finished:
        lines += _texts(aimed("next: claudetm resume"))
    return lines


def standing(run: Run, pid: int) -> str:
    """Return phase, halt and driver in a few words."""
    from claudetm.workflow.stages import Mode, Phase

    if run.phase is Phase.VERIFIED and run.mode is not Mode.GOAL:
        return f"done, {run.landed}" if run.mode is Mode.SESSION else "answered"
    if run.finished:
        return str(run.phase) + (f" at {run.verify_commit[:10]}, {run.landed}" if run.landed else "")
    if pid:
        return f"{run.phase} (driven by process {pid})"
    return f"{run.phase} ({run.halt.kind if run.halt else 'no driver'})"


def _spent(run: Run) -> str:
    used = run.used
    tokens = used.input_tokens + used.output_tokens + used.cache_read_tokens + used.cache_write_tokens
    budget = f" of ${run.policy.cost_usd:.2f}" if run.policy.cost_usd is not None else ""
    return (
        f"{run.sessions} session{'' if run.sessions == 1 else 's'}, ${used.cost_usd:.2f}{budget}, {tokens:,} tokens"
    )


def _one_line(text: str, most: int) -> str:
    from claudetm.redact import printable, redact

    line = " ".join(redact(printable(text)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
