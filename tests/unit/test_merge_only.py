"""What `fix-pr --merge-only` finds against a merge: every reason, and none where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from claudetm.adapters.forge.github.facts import Facts
from claudetm.adapters.forge.github.pull import Mergeable
from claudetm.bootstrap.merge_only import against
from claudetm.workflow.policy import Policy
from claudetm.workflow.pull_request import Check, CheckState, Comment, PullRequestState, Thread
from hosted import pull

MAY = Facts(login="ada", repository="acme/widgets", permission="WRITE")
FAILED, PENDING, PASSED = CheckState.FAILED, CheckState.PENDING, CheckState.PASSED
STANDS = Thread("T1", (Comment("bob", "Why?"),), "greet.py", 2)
CLOSED = Thread("T2", (Comment("bob", "Typo"),), resolved=True)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"status": "UNSTABLE", "checks": (Check("test", PASSED), Check("docs", FAILED, required=False))},
        {"threads": (CLOSED,), "approved": ("bob",), "approvals": 1},
        {"status": "BLOCKED", "queue": True},
        {"unheard": ("eve",)},
    ],
)
def test_what_is_green_and_unopposed_has_nothing_against_it(more: Mapping[str, Any]) -> None:
    assert list(against(pull(**more), Policy(), MAY)) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"state": PullRequestState.CLOSED, "by": "bob"}, "bob closed it"),
        ({"branch_there": False}, "its branch claudetm/r1/c7 is gone"),
        ({"mergeable": Mergeable.CONFLICTING, "status": "DIRTY"}, "it conflicts with main"),
        ({"mergeable": Mergeable.UNKNOWN}, "GitHub has not worked out yet whether it can be merged"),
        ({"status": "BEHIND"}, "main has moved since it was tested"),
        ({"checks": (Check("test", FAILED, summary="1 failed"),)}, "the check test failed: 1 failed"),
        ({"checks": (Check("test", PASSED), Check("lint", PENDING))}, "the check lint has not reported yet"),
        ({"checks": ()}, "no check has reported, and zero checks is not green"),
        ({"unread": "the token may not read check runs"}, "the token may not read check runs"),
        ({"objections": ("bob",)}, "bob asked for changes"),
        ({"threads": (STANDS,)}, "a conversation is open: T1 greet.py:2: bob: “Why?”"),
        ({"withheld": "it is a draft"}, "it is a draft"),
        ({"status": "BLOCKED"}, "GitHub holds it back: something that the rules of main ask for is missing"),
    ],
)
def test_each_reason_is_told_and_by_itself(more: Mapping[str, Any], says: str) -> None:
    [reason] = against(pull(**more), Policy(), MAY)
    assert reason.startswith(says)


def test_all_reasons_are_told_at_once() -> None:
    bad = pull(
        status="BLOCKED",
        checks=(Check("test", FAILED), Check("lint", PENDING)),
        objections=("bob",),
        threads=(STANDS,),
        withheld="it is a draft",
    )
    found = list(against(bad, Policy(reviews_required=2), Facts(login="ada", repository="a/b", permission="READ")))
    assert [reason.split(":")[0] for reason in found] == [
        "the check test failed",
        "the check lint has not reported yet",
        "bob asked for changes",
        "a conversation is open",
        "it has 0 of 2 approvals",
        "it is a draft",
        "ada may not merge into a/b",
    ]


def test_zero_checks_is_green_for_whoever_says_so() -> None:
    assert list(against(pull(checks=()), Policy(checks_none="pass"), MAY)) == []
