"""A pull request on GitHub as `github_reading` tells it: green, open and unopposed but for what a test changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Mergeable, Pull
from claudetm.workflow.pull_request import Check, CheckState, PullRequestState

PLACE: Final = Hosted("https://api.github.com", "acme", "widgets", "https://x", "https://x", "acme")
JOB: Final = "https://github.com/acme/widgets/actions/runs/81/job/911"


def pull(number: int = 7, **more: Any) -> Pull:
    green = Pull(
        id=f"PR_{number}",
        number=number,
        url=f"https://github.com/acme/widgets/pull/{number}",
        title="Greet loudly",
        body="Why: it is wanted.",
        state=PullRequestState.OPEN,
        draft=False,
        branch=f"claudetm/r1/c{number}",
        head="h1",
        target="main",
        base="b0",
        head_repository="acme/widgets",
        branch_there=True,
        writable=True,
        merge_commit="",
        by="",
        mergeable=Mergeable.MERGEABLE,
        status="CLEAN",
        checks=(Check("test", CheckState.PASSED),),
        links={"test": JOB},
    )
    return replace(green, **more)
