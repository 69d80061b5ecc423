"""`claudetm plan`: the plan with its state."""

from __future__ import annotations

import typer


def command(as_json: bool = typer.Option(False, "--json", help="Print the plan as JSON.")) -> None:
    """Show the plan: changes, tasks and criteria."""
    from claudetm.cli.state import find, load

    run = load(find())
    if as_json:
        import json

        from claudetm.plan.model import plan_to_data

        print(json.dumps({"based_on": run.plan_seq, **plan_to_data(run.plan)}, indent=2))
        return
    from claudetm.workflow.markdown import plan_markdown

    print(plan_markdown(run))
