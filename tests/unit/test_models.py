"""Which model, with how much effort, a session gets."""

from __future__ import annotations

import pytest

from claudetm.plan.model import Complexity
from claudetm.ports.agent import Role
from claudetm.stages.models import choose
from claudetm.workflow.policy import Policy

TUNED = Policy(
    tuning={
        "roles.planner.model": "haiku",
        "roles.reviewer.effort": "max",
        "complexity.coding.model": "sonnet",
        "complexity.coding.effort": "low",
    }
)


@pytest.mark.parametrize(
    ("role", "complexity", "attempt", "policy", "chosen"),
    [
        (Role.WORKER, Complexity.QUICK, 1, Policy(), ("sonnet", "low")),
        (Role.WORKER, Complexity.CODING, 1, Policy(), ("opus", "medium")),
        (Role.WORKER, Complexity.CODING, 2, Policy(), ("opus", "high")),
        (Role.PLANNER, Complexity.QUICK, 1, Policy(), ("opus", "high")),
        (Role.PLANNER, Complexity.QUICK, 1, TUNED, ("haiku", "high")),
        (Role.REVIEWER, Complexity.QUICK, 2, TUNED, ("opus", "max")),
        (Role.WORKER, Complexity.CODING, 2, TUNED, ("sonnet", "low")),
        (Role.WORKER, Complexity.GENERAL, 1, TUNED, ("sonnet", "medium")),
        (Role.WORKER, Complexity.QUICK, 1, Policy(model="claude-x-1"), ("claude-x-1", "low")),
        (Role.WORKER, Complexity.QUICK, 1, Policy(models={"sonnet": "vendor/s"}), ("vendor/s", "low")),
        (Role.WORKER, Complexity.QUICK, 1, Policy(model="opus", models={"opus": "vendor/o"}), ("vendor/o", "low")),
    ],
)
def test_the_table_the_role_or_complexity_s_own_setting_and_the_model_for_all_work(
    role: Role, complexity: Complexity, attempt: int, policy: Policy, chosen: tuple[str, str]
) -> None:
    assert choose(role, complexity, attempt, policy) == chosen
