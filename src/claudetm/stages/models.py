"""Which model, with how much effort, for which work. Aliases, so that the newest of a tier is used."""

from __future__ import annotations

from typing import Final

from claudetm.plan.model import Complexity
from claudetm.ports.agent import Role
from claudetm.workflow.policy import Policy

_BY_ROLE: Final = {
    Role.PLANNER: ("opus", "high"),
    Role.VERIFIER: ("opus", "high"),
    Role.REVIEWER: ("opus", "medium"),
    Role.UPDATER: ("opus", "medium"),
    Role.FIXER: ("opus", "medium"),
    Role.RESPONDER: ("sonnet", "medium"),
    Role.AUDITOR: ("opus", "high"),
    Role.ANALYST: ("opus", "medium"),
}
_BY_COMPLEXITY: Final = {
    Complexity.QUICK: ("sonnet", "low"),
    Complexity.GENERAL: ("sonnet", "medium"),
    Complexity.CODING: ("opus", "medium"),
    Complexity.DEBUGGING: ("opus", "high"),
}


def choose(role: Role, complexity: Complexity, attempt: int, policy: Policy) -> tuple[str, str]:
    """Return model and effort: more effort for what failed once; what the policy names goes before the tables."""
    of_role = _BY_ROLE.get(role)
    model, effort = of_role or _BY_COMPLEXITY[complexity]
    about = f"roles.{role}" if of_role else f"complexity.{complexity}"
    model = policy.model or policy.tuning.get(f"{about}.model") or model
    effort = policy.tuning.get(f"{about}.effort") or ("high" if attempt > 1 else effort)
    return policy.models.get(model) or model, effort
