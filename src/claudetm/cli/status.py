"""`claudetm status`: where the run stands. Reads the journal alone; no lock, no heavy library, exit 0 throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from claudetm.workflow.run import ChangeState, Receipt, Run


def command(
    as_json: bool = typer.Option(False, "--json", help="Print the state as JSON."),
    criteria: bool = typer.Option(False, "--criteria", help="Show each criterion with its receipt."),
) -> None:
    """Show where the run stands."""
    from claudetm.adapters.store.lock import holder
    from claudetm.cli.state import find, load

    state = find()
    run = load(state)
    driver = holder(state.lock)
    if as_json:
        import json

        from claudetm.workflow.markdown import state_data

        data: dict[str, Any] = {**state_data(run), "driver": driver.pid if driver else None}
        print(json.dumps(data, indent=2))
    elif criteria:
        _print_criteria(run)
    else:
        _print_status(run, driver.pid if driver else 0)


def _print_status(run: Run, pid: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    console.print(f"[bold]{escape(_one_line(run.goal, 200))}[/bold]")
    console.print(escape(f"{run.id}: {standing(run, pid)}"))
    console.print(escape(_spent(run)))
    if run.changes:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("change", "stage", "tasks", "title"):
            table.add_column(name, overflow="fold")
        for change in run.changes.values():
            table.add_row(change.id, _stage(change), _tasks(change), escape(change.plan.title))
        console.print(table)
    if run.plan.criteria:
        held = sum(r.verdict == "holds" for r in run.receipts.values())
        at = f" at {run.verify_commit[:10]}" if run.receipts else ""
        console.print(f"criteria: {held} of {len(run.plan.criteria)} hold{at}")
    if run.halt is not None:
        console.print(f"[bold]{run.halt.kind}[/bold]: {escape(run.halt.reason)}")
        console.print(f"next: {escape(run.halt.next)}")
    elif run.landing_next:
        console.print(f"next: {escape(run.landing_next)}")
    elif not pid and not run.finished:
        console.print("next: claudetm resume")


def standing(run: Run, pid: int) -> str:
    """Return phase, halt and driver in a few words."""
    if run.finished:
        return str(run.phase) + (f" at {run.verify_commit[:10]}, {run.landed}" if run.landed else "")
    if pid:
        return f"{run.phase} (driven by process {pid})"
    return f"{run.phase} ({run.halt.kind if run.halt else 'no driver'})"


def _spent(run: Run) -> str:
    used = run.used
    tokens = used.input_tokens + used.output_tokens + used.cache_read_tokens + used.cache_write_tokens
    budget = f" of ${run.policy.cost_usd:.2f}" if run.policy.cost_usd is not None else ""
    return f"{run.sessions} sessions, ${used.cost_usd:.2f}{budget}, {tokens:,} tokens"


def _stage(change: ChangeState) -> str:
    number = f" #{change.number}" if change.number else ""
    return f"{change.stage}{number}" + (" (held)" if change.hold else "")


def _tasks(change: ChangeState) -> str:
    return f"{sum(t.done for t in change.tasks.values())}/{len(change.plan.tasks)}"


def _print_criteria(run: Run) -> None:
    if not run.plan.criteria:
        print("The plan has no criteria yet.")
    for criterion in run.plan.criteria:
        receipt = run.receipts.get(criterion.id)
        print(f"{criterion.id} {receipt.verdict if receipt else 'not checked'}: {_one_line(criterion.text, 400)}")
        for line in _receipt_lines(receipt) if receipt else ():
            print(f"    {line}")


def _receipt_lines(receipt: Receipt) -> list[str]:
    lines = [f"commit {receipt.commit}"]
    if receipt.command:
        lines.append(f"command: {_one_line(receipt.command, 300)} (exit {receipt.exit_code})")
        lines.append(f"output: sha256 {receipt.output_sha256[:16]}…, {receipt.log}")
    lines += [f"evidence: {_one_line(e, 300)}" for e in receipt.evidence]
    return lines


def _one_line(text: str, most: int) -> str:
    from claudetm.redact import printable

    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
