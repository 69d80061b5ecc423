"""The GraphQL texts that pull requests are read with. Pure; held to GitHub's own schema by the tests.

`light` tells cheaply whether a pull request has changed, `full` tells all of it, the rest are further pages of that.
https://docs.github.com/en/graphql/overview/rate-limits-and-node-limits-for-the-graphql-api
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

BATCH: Final = 10
"""So many pull requests are read in full with one request, where GitHub manages that in its ten seconds."""

MANY: Final = 100
"""So many are asked whether they changed with one request, where it manages that."""

_NEXT: Final = "pageInfo { hasNextPage endCursor }"

_FRAGMENTS: Final = {
    # Everything in it takes part in the fingerprint, or is taken over as it is: see fields.
    "Light": """on PullRequest {
  id number updatedAt state isDraft headRefOid baseRefName
  baseRef { target { oid } }
  mergeable mergeStateStatus reviewDecision isInMergeQueue
  autoMergeRequest { enabledAt }
  talked: reviewThreads(last: 100) { totalCount nodes { isResolved } }
  rollup: statusCheckRollup { state }
  counts: statusCheckRollup {
    contexts {
      checkRunCountsByState { state count }
      statusContextCountsByState { state count }
    }
  }
  remarked: comments { totalCount }
  judged: reviews { totalCount }
}""",
    "Full": f"""on PullRequest {{
  ...Light
  url title body headRefName isCrossRepository maintainerCanModify isMergeQueueEnabled
  headRef {{ id }}
  headRepository {{ nameWithOwner }}
  baseRef {{ refUpdateRule {{ requiredStatusCheckContexts }} }}
  mergeCommit {{ oid }}
  mergedBy {{ __typename login }}
  autoMergeRequest {{ enabledBy {{ __typename login }} }}
  ended: timelineItems(last: 1, itemTypes: [CLOSED_EVENT]) {{
    nodes {{ ... on ClosedEvent {{ actor {{ __typename login }} }} }}
  }}
  commits(last: 50) {{
    nodes {{ commit {{ oid parents {{ totalCount }} author {{ email user {{ login }} }} }} }}
  }}
  reviewThreads(first: 50) {{ {_NEXT} nodes {{ ...Conversation }} }}
  reviews(first: 100) {{ {_NEXT} nodes {{ ...Review }} }}
  comments(first: 100) {{ {_NEXT} nodes {{ ...Remark }} }}
}}""",
    "Conversation": f"""on PullRequestReviewThread {{
  id isResolved path line originalLine viewerCanResolve
  resolvedBy {{ login }}
  comments(first: 50) {{ {_NEXT} nodes {{ ...LineRemark }} }}
}}""",
    "LineRemark": """on PullRequestReviewComment {
  fullDatabaseId state body createdAt url isMinimized authorAssociation
  author { __typename login }
}""",
    "Review": """on PullRequestReview {
  fullDatabaseId state body submittedAt url isMinimized authorAssociation
  author { __typename login }
}""",
    "Remark": """on IssueComment {
  fullDatabaseId body createdAt url isMinimized authorAssociation
  author { __typename login }
}""",
    # Beside `state` under one rollup they can change it: they stand under a second alias everywhere.
    "Context": """on StatusCheckRollupContext {
  __typename
  ... on CheckRun {
    id databaseId name status conclusion detailsUrl title
    checkSuite { status app { slug } workflowRun { databaseId event workflow { id name } } }
  }
  ... on StatusContext { context state description targetUrl }
}""",
}
_SPREAD: Final = re.compile(r"\.\.\.(\w+)")

_OF: Final = "($owner: String!, $name: String!)"
_PAGE: Final = "($owner: String!, $name: String!, $after: String!)"
_IN: Final = "repository(owner: $owner, name: $name)"
_RATE: Final = "rateLimit { cost remaining resetAt }"

PARTS: Final = {
    "reviewThreads": f"reviewThreads(first: 50, after: $after) {{ {_NEXT} nodes {{ ...Conversation }} }}",
    "reviews": f"reviews(first: 100, after: $after) {{ {_NEXT} nodes {{ ...Review }} }}",
    "comments": f"comments(first: 100, after: $after) {{ {_NEXT} nodes {{ ...Remark }} }}",
}
"""The lists of a pull request that may have more pages, beside its checks."""


def alias(number: int) -> str:
    """Return the name that a pull request has in an answer."""
    return f"p{number}"


def light(numbers: Iterable[int]) -> str:
    """Return the query that tells what may have changed, of any number: 2 points for 50."""
    asked = "\n  ".join(f"{alias(n)}: pullRequest(number: {n}) {{ ...Light }}" for n in numbers)
    return _whole(f"query Light{_OF} {{\n  {_IN} {{\n  {asked}\n  }}\n  {_RATE}\n}}")


def full(numbers: Sequence[int]) -> str:
    """Return the query that tells all, of `BATCH` at most: 1 point for each."""
    each = (f"{alias(n)}: pullRequest(number: {n}) {{ ...Full {_checks(n)} }}" for n in numbers)
    asked = "\n  ".join(["autoMergeAllowed deleteBranchOnMerge", *each])
    return _whole(f"query Full{_OF} {{\n  {_IN} {{\n  {asked}\n  }}\n  {_RATE}\n}}")


def more(number: int, part: str) -> str:
    """Return the query for the page of a list that comes after `$after`; `part` is a key of `PARTS`."""
    return _whole(
        f"query More{_PAGE} {{ {_IN} {{ {alias(number)}: pullRequest(number: {number}) {{ {PARTS[part]} }} }} }}"
    )


def more_checks(number: int) -> str:
    """Return the query for the checks after `$after`."""
    asked = f"{alias(number)}: pullRequest(number: {number}) {{ {_checks(number, ', after: $after')} }}"
    return _whole(f"query MoreChecks{_PAGE} {{ {_IN} {{ {asked} }} }}")


def _checks(number: int, after: str = "") -> str:
    required = f"isRequired(pullRequestNumber: {number})"
    return (
        f"checks: statusCheckRollup {{ contexts(first: 100{after}) {{ {_NEXT} nodes {{ ...Context "
        f"... on CheckRun {{ {required} }} ... on StatusContext {{ {required} }} }} }} }}"
    )


def _whole(operation: str) -> str:
    """Return the operation with the fragments that it needs, and no other: GitHub refuses those."""
    text, needed = operation, set(_SPREAD.findall(operation))
    added: set[str] = set()
    while needed - added:
        name = min(needed - added)
        added.add(name)
        text += f"\nfragment {name} {_FRAGMENTS[name]}"
        needed |= set(_SPREAD.findall(_FRAGMENTS[name]))
    return text


MORE_REMARKS: Final = _whole(
    "query MoreRemarks($id: ID!, $after: String!) { node(id: $id) { ... on PullRequestReviewThread { "
    f"comments(first: 100, after: $after) {{ {_NEXT} nodes {{ ...LineRemark }} }} }} }} }}"
)
"""The remarks of one review thread after `$after`."""

FAILED_RUNS: Final = """query FailedRuns($ids: [ID!]!) {
  nodes(ids: $ids) {
    ... on CheckRun { id summary annotations(first: 20) { nodes { title message } } }
  }
}"""
"""What failed check runs say of themselves: whether their runner was lost stands there. At most 100 ids."""

COMMIT_CHECKS: Final = _whole(
    f"query CommitChecks($owner: String!, $name: String!, $commit: GitObjectID!, $after: String) {{ {_IN} {{ "
    "object(oid: $commit) { ... on Commit { checks: statusCheckRollup { "
    f"contexts(first: 100, after: $after) {{ {_NEXT} nodes {{ ...Context }} }} }} }} }} }} }}"
)
"""The checks of a commit by itself."""
