"""What a dry run shows at its end: the plan, and what a start of the same would do with it."""

from __future__ import annotations

from typing import Any, Final

from claudetm.bootstrap.github import awaited
from claudetm.plan.model import plan_to_data
from claudetm.ports.agent import Role
from claudetm.stages.models import choose
from claudetm.workflow.markdown import plan_markdown
from claudetm.workflow.policy import Policy
from claudetm.workflow.run import Run

_LONGEST: Final = 600  # characters
_LIMITS: Final = (
    "sessions",
    "cost_usd",
    "session_cost_usd",
    "turns",
    "session_seconds",
    "attempts",
    "fix_rounds",
    "verify_rounds",
    "max_prs",
)


def data(run: Run) -> dict[str, Any]:
    """Return the plan and what would be done, as JSON values: costs in US dollars, times in seconds."""
    policy = run.policy
    return {
        "goal": run.goal,
        "plan": plan_to_data(run.plan),
        "guards": list(run.guards),
        "would": {
            "forge": run.forge,
            "repository": _repository(run),
            "target": run.target,
            "base": run.base,
            "checks": list(policy.checks),
            "auto_merge": policy.auto_merge,
            "merge_method": policy.merge_method,
            "self_review": policy.self_review,
            "verify": policy.verify,
            "land": policy.land,
            "approve_plan": policy.approve_plan,
            "pause_on_pr": policy.pause_on_pr,
            "models": {t: {"model": model, "effort": effort} for t, (model, effort) in _models(run).items()},
            "limits": {name: getattr(policy, name) for name in _LIMITS},
        },
        "used": {"sessions": run.sessions, "cost_usd": run.used.cost_usd},
    }


def lines(run: Run) -> list[str]:
    """Return the same in words."""
    would = ["## What a start would do", "", *(f"- {line}" for line in _would(run))]
    if not run.plan.changes:
        would = ["Nothing is to be done: the planner found the goal met already."]
    return [*(_short(line) for line in plan_markdown(run).splitlines()), "", *would, ""]


def _short(line: str) -> str:
    """Return a line without what nobody reads at a terminal: an issue as a goal is one line, of 64 KiB at most."""
    if len(line) <= _LONGEST:
        return line
    return f"{line[:_LONGEST]}… ({len(line) - _LONGEST} characters more)"


def _models(run: Run) -> dict[str, tuple[str, str]]:
    """Return model and effort of each task's first session, by the task's id."""
    tasks = [t for c in run.plan.changes for t in c.tasks]
    return {t.id: choose(Role.WORKER, t.complexity, 1, run.policy) for t in tasks}


def _would(run: Run) -> list[str]:
    policy, count = run.policy, len(run.plan.changes)
    found = [
        f"pull requests: {count}, {_where(run)}, for {run.target} (at {run.base[:10]})",
        f"checks: {_checks(run)}",
        f"reviews: {_reviews(run)}",
        f"merging: {f'by claudetm ({policy.merge_method})' if policy.auto_merge else 'left to you'}",
        *(["stops: once there is a plan, for your approval"] if policy.approve_plan else []),
        *(["stops: at each pull request"] if policy.pause_on_pr else []),
        f"criteria: {_criteria(run)}",
        f"landing: {_landing(run)}",
        f"limits: {_limits(policy)}",
    ]
    return [*found, *(f"model of {i}: {model} ({effort} effort)" for i, (model, effort) in _models(run).items())]


def _repository(run: Run) -> str:
    """Return the full name of where pull requests live, "" on the local forge."""
    return f"{run.hosted['owner']}/{run.hosted['name']}" if run.hosted else ""


def _where(run: Run) -> str:
    return f"on GitHub ({_repository(run)})" if run.hosted else f"on the {run.forge} forge"


def _checks(run: Run) -> str:
    checks = ", ".join(run.policy.checks)
    if run.hosted:
        return f"GitHub's own{f'; agents run {checks}' if checks else ''}"
    return checks or "none, which is taken for green"


def _reviews(run: Run) -> str:
    own = run.policy.self_review
    if not run.hosted:
        return "by a fresh session" if own else "by people only"
    return f"{'by a fresh session; ' if own else ''}{awaited(run.policy, run.policy.reviews_required)}"


def _landing(run: Run) -> str:
    if run.hosted:
        return f"each pull request is merged into {run.target} at GitHub"
    return f"{run.target} is moved, once, at the end" if run.policy.land else "left to you"


def _criteria(run: Run) -> str:
    if not run.policy.verify:
        return "not judged, as asked"
    guards = f"; {', '.join(run.guards)} hold already and prove nothing" if run.guards else ""
    return f"{len(run.plan.criteria)} judged at the end{guards}"


def _limits(policy: Policy) -> str:
    sessions = "any number of" if policy.sessions is None else f"{policy.sessions}"
    cost = "no budget" if policy.cost_usd is None else f"${policy.cost_usd:.2f} in all"
    prs = "" if policy.max_prs is None else f", {policy.max_prs} pull requests in all"
    each = f"{policy.turns} turns, {policy.session_seconds / 60:g} minutes, ${policy.session_cost_usd:.2f}"
    return f"{sessions} sessions, {cost}{prs}; a session: {each}"
