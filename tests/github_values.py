"""A GitHub of plain values behind the client's interface: queries are executed on GitHub's own schema, over dicts.

What a query asks and the values lack is null, and an error where GitHub never says null.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    build_schema,
    execute_sync,
    get_named_type,
    parse,
    validate,
)

from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.refusals import GithubRefused
from claudetm.errors import ForgeBusy

HOSTED = Hosted("https://api.github.com", "acme", "widgets", "https://github.com/acme/widgets.git", "", "acme")
HEAD = "a" * 40
BASE = "b" * 40


@cache
def schema() -> GraphQLSchema:
    packed = Path(__file__).parent / "github_double" / "schema.graphql.gz"
    return build_schema(gzip.decompress(packed.read_bytes()).decode(), assume_valid=True, assume_valid_sdl=True)


@cache
def _document(text: str) -> DocumentNode:
    document = parse(text)
    assert not validate(schema(), document)
    return document


# --- values -----------------------------------------------------------------------------------------------------


def user(login: str) -> dict[str, Any]:
    return {"__typename": "User", "login": login}


def bot(login: str) -> dict[str, Any]:
    return {"__typename": "Bot", "login": login}


def said(number: int, who: Mapping[str, Any] | None, body: str, at: str = "", **more: Any) -> dict[str, Any]:
    """A comment of a thread or of the conversation; `at` is a time of day."""
    return {
        "id": f"C{number}",
        "fullDatabaseId": str(number),
        "body": body,
        "createdAt": time(at or f"10:{number % 60:02}"),
        "url": f"https://github.com/acme/widgets/pull/12#c{number}",
        "isMinimized": False,
        "state": "SUBMITTED",
        "authorAssociation": "NONE",
        "author": who,
        **more,
    }


def review(number: int, who: Mapping[str, Any] | None, state: str, body: str = "", at: str = "") -> dict[str, Any]:
    return said(number, who, body, state=state, submittedAt=time(at or f"10:{number % 60:02}"))


def thread(name: str, *comments: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "isResolved": False,
        "path": "a.py",
        "line": 3,
        "originalLine": 2,
        "viewerCanResolve": True,
        "resolvedBy": None,
        "comments": list(comments),
        **more,
    }


def time(of_day: str) -> str:
    return f"2026-05-01T{of_day}:00Z"


def run(number: int, name: str, conclusion: str | None, status: str = "COMPLETED", **more: Any) -> dict[str, Any]:
    """An Actions job as a check run; `workflow`, `event` and `app` may be given."""
    workflow, event, app = more.pop("workflow", "CI"), more.pop("event", "pull_request"), more.pop("app", "")
    of = {"databaseId": number * 10, "event": event, "workflow": {"id": f"W-{workflow}", "name": workflow}}
    return {
        "__typename": "CheckRun",
        "id": f"CR{number}",
        "databaseId": number,
        "name": name,
        "status": status,
        "conclusion": conclusion,
        "detailsUrl": f"https://github.com/acme/widgets/runs/{number}",
        "title": None,
        "summary": None,
        "annotations": [],
        "isRequired": False,
        "checkSuite": {
            "status": "COMPLETED",
            "app": {"slug": app or "github-actions"},
            "workflowRun": None if app else of,
        },
        **more,
    }


def status(context: str, state: str, **more: Any) -> dict[str, Any]:
    return {
        "__typename": "StatusContext",
        "context": context,
        "state": state,
        "description": None,
        "targetUrl": None,
        "isRequired": False,
        **more,
    }


def commit(oid: str = HEAD, login: str = "ada", email: str = "ada@acme.org", parents: int = 1) -> dict[str, Any]:
    who = {"email": email, "user": {"login": login} if login else None}
    return {"commit": {"oid": oid, "parents": [{}] * parents, "author": who}}


def pull(number: int = 12, **more: Any) -> dict[str, Any]:
    """An open pull request; `rollup` lists its checks, None has none."""
    return {
        "id": f"PR{number}",
        "number": number,
        "url": f"https://github.com/acme/widgets/pull/{number}",
        "title": "Greet",
        "body": "Why.",
        "updatedAt": time("09:00"),
        "state": "OPEN",
        "isDraft": False,
        "headRefName": f"claudetm/r1/c{number}",
        "headRefOid": HEAD,
        "headRef": {"id": "R1"},
        "headRepository": {"nameWithOwner": "acme/widgets"},
        "isCrossRepository": False,
        "maintainerCanModify": False,
        "baseRefName": "main",
        "baseRef": {"target": {"__typename": "Commit", "oid": BASE}, "refUpdateRule": None},
        "mergeable": "MERGEABLE",
        "mergeStateStatus": "CLEAN",
        "mergeCommit": None,
        "mergedBy": None,
        "reviewDecision": None,
        "isMergeQueueEnabled": False,
        "isInMergeQueue": False,
        "autoMergeRequest": None,
        "timelineItems": [],
        "commits": [commit()],
        "reviewThreads": [],
        "reviews": [],
        "comments": [],
        "rollup": None,
        **more,
    }


# --- the client -------------------------------------------------------------------------------------------------


class Values:
    """What the reading half of the client answers. `rest` has values by path, or the status of a refusal."""

    login = "robin"

    def __init__(self, *pulls: dict[str, Any], rest: Mapping[str, Any] | None = None) -> None:
        self.now: dict[int, dict[str, Any]] = {p["number"]: p for p in pulls}
        self.rest: dict[str, Any] = {
            "/repos/acme/widgets/rules/branches/main": [],
            "/repos/acme/widgets/collaborators/ada/permission": {"permission": "write"},
            "/repos/acme/widgets/collaborators/eve/permission": {"permission": "read"},
            "/repos/acme/widgets/collaborators/robin/permission": {"permission": "admin"},
            **(rest or {}),
        }
        self.commits: dict[str, list[dict[str, Any]] | None] = {}
        self.forbidden: dict[str, str] = {}  # response name -> type of the error that it is answered with
        self.asked: list[str] = []  # GraphQL operations
        self.paths: list[str] = []
        self.there = True

    def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        self.asked.append(text)
        root = {"repository": self._repository() if self.there else None, "node": self._node, "nodes": self._nodes}
        answer = execute_sync(
            schema(),
            _document(text),
            root,
            None,
            variables,
            field_resolver=self._resolve,
            type_resolver=_type,
        )
        errors = [self._error(e) for e in answer.errors or ()]
        if answer.data is None:
            raise GithubRefused(str(errors), 200, str(errors))
        return answer.data, errors

    def get(self, path: str, **_: Any) -> Any:
        self.paths.append(path)
        found = self.rest.get(path, 404)
        if isinstance(found, ForgeBusy):
            raise found
        if isinstance(found, int):
            raise GithubRefused(f"GET {path}: {found}", found, "Resource not accessible")
        return found

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:
        found = self.get(path, **params)
        listed: list[Any] = found[key] if key else found
        return listed

    @property
    def operations(self) -> list[str]:
        """The names of what was asked, in order."""
        return [text.split("(")[0].removeprefix("query ") for text in self.asked]

    def _repository(self) -> dict[str, Any]:
        return {
            "autoMergeAllowed": True,
            "deleteBranchOnMerge": False,
            "pullRequest": self._pull,
            "object": self._object,
        }

    def _pull(self, number: int) -> Any:
        if number not in self.now:
            raise GraphQLError("Could not resolve to a PullRequest", extensions={"type": "NOT_FOUND"})
        found = self.now[number]
        rollup = found["rollup"]
        told = None if rollup is None else _rollup(rollup, found.get("rollupState", "PENDING"))
        return {**found, "statusCheckRollup": told}

    def _object(self, oid: str) -> Any:
        rollup = self.commits.get(oid)
        return {"__typename": "Commit", "statusCheckRollup": None if rollup is None else _rollup(rollup)}

    def _node(self, id: str) -> Any:  # noqa: A002 - GitHub's name
        return {"__typename": "PullRequestReviewThread", **self._all("reviewThreads")[id]}

    def _nodes(self, ids: Sequence[str]) -> Any:
        return [self._all("rollup").get(one) for one in ids]

    def _all(self, key: str) -> dict[str, Any]:
        return {one.get("id", ""): one for found in self.now.values() for one in found[key] or ()}

    def _resolve(self, source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
        name = str(info.path.key)
        if name in self.forbidden:
            raise GraphQLError("Resource not accessible", extensions={"type": self.forbidden[name]})
        value = source.get(info.field_name)
        if callable(value):
            return value(**arguments)
        if isinstance(value, list) and get_named_type(info.return_type).name.endswith("Connection"):
            return _page(value, **arguments)
        return value

    def _error(self, error: GraphQLError) -> dict[str, Any]:
        return {"message": error.message, "path": error.path, **(error.extensions or {})}


def _type(value: Any, *_: Any) -> str:
    return str(value["__typename"])


def _rollup(checks: list[dict[str, Any]], state: str = "PENDING") -> dict[str, Any]:
    return {"state": state, "contexts": checks}


def _page(
    items: list[Any], first: int | None = None, last: int | None = None, after: str | None = None, **_: Any
) -> dict[str, Any]:
    start = int(after) if after else 0
    if last is not None:
        start = max(0, len(items) - last)
    end = min(len(items), start + (first if first is not None else len(items)))
    states = [i.get("conclusion") or i.get("status") for i in items if i.get("__typename") == "CheckRun"]
    others = [i["state"] for i in items if i.get("__typename") == "StatusContext"]
    return {
        "totalCount": len(items),
        "nodes": items[start:end],
        "pageInfo": {"hasNextPage": end < len(items), "endCursor": str(end)},
        "checkRunCountsByState": [{"state": s, "count": states.count(s)} for s in sorted({*states})],
        "statusContextCountsByState": [{"state": s, "count": others.count(s)} for s in sorted({*others})],
    }
