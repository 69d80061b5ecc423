"""The check of GitHub, where the remote is GitHub: the token by name, what it may do, and what the target demands.

What a start refuses is a failure here, in the same words; a GitHub that does not answer is no fault of the machine's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from claudetm.doctor.finding import Finding, fail, ok, refused, warn
from claudetm.doctor.place import Place
from claudetm.errors import ClaudetmError, ForgeBusy, ForgeError

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.access import Token
    from claudetm.adapters.forge.github.facts import Facts
    from claudetm.adapters.forge.github.limits import Quota
    from claudetm.adapters.forge.github.place import Hosted
    from claudetm.bootstrap.github import Ground
    from claudetm.config import Resolved
    from claudetm.workflow.policy import Policy

_BRANCH: Final = "claudetm/doctor/c1"
_RESOURCES: Final = ("graphql", "core")


class Asked(Protocol):
    """What is asked of GitHub: a part of `GithubClient`."""

    def get(self, path: str, **params: Any) -> Any:
        """Return what a path holds."""
        ...

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:
        """Return a list, read to its last page."""
        ...

    def graphql(self, query: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        """Return the data, and what went wrong with parts of it."""
        ...

    def scopes(self) -> frozenset[str] | None:
        """Return the scopes of a classic token; None of another."""
        ...

    def quota(self) -> Quota:
        """Return what is left of the hour's quota."""
        ...


def forge(place: Place) -> Iterator[Finding]:
    """Say where pull requests would live."""
    if place.outside or not place.readable:
        return
    try:
        _, said = place.forge
    except ClaudetmError as error:
        yield refused("forge", ForgeError(str(error)))
        return
    why = "as configured" if place.settings["forge"] == "local" else "as no remote is on a host"
    yield ok("forge", said or f"local, {why}")


def github(place: Place) -> Iterator[Finding]:
    """Say whether a run could live there. Nothing is said where pull requests live in the repository."""
    from claudetm.adapters.forge.github.access import find
    from claudetm.adapters.forge.github.place import git_host
    from claudetm.bootstrap.github import AT_ONCE, client_of, refuse_misshapen, try_push, ways_in

    if place.outside or not place.readable:
        return
    try:
        hosted = place.hosted
    except ClaudetmError:  # said of the forge
        return
    if hosted is None:
        return
    server = git_host(hosted.api)
    login, variable = ways_in(server)
    if (token := find(server, os.environ)) is None:
        yield fail("GitHub token", f"none for {server}", f"{login}, or set {variable}, or start with --forge local")
        return
    try:
        refuse_misshapen(token)
    except ClaudetmError as error:
        yield refused("GitHub token", ForgeError(str(error)))
        return
    target = place.settings["git.target_branch"] or place.user.target
    client = client_of(hosted, token, AT_ONCE)

    def push() -> None:
        try_push(hosted, place.user.author)

    try:
        yield from examined(client, token, hosted, target, place.settings, push)
    except ForgeBusy as error:
        yield warn("GitHub", str(error).partition(": it ")[0].rstrip("."), "look again later; a run waits by itself")


def examined(
    client: Asked, token: Token, hosted: Hosted, target: str, settings: Resolved, push: Callable[[], None]
) -> Iterator[Finding]:
    """Yield what GitHub says; `push` tries one. Raises ForgeBusy where it does not answer."""
    from claudetm.adapters.forge.github.place import git_host
    from claudetm.adapters.forge.github.refusals import Unauthorised
    from claudetm.bootstrap.github import Ground, known_of, refuse_unseen, renewal

    server = git_host(hosted.api)
    try:
        known = known_of(client, token, hosted, target, _BRANCH)
    except Unauthorised:
        yield fail("GitHub token", f"{token.source}, which {server} refuses", renewal(server, token))
        return
    yield from _token(known, token)
    try:
        refuse_unseen(known, token, hosted)
    except ForgeError as error:
        yield refused("GitHub access", error)
        return
    ground = Ground(hosted, known, target, known.tip, "", token)
    yield from _access(ground, push)
    yield from _merging(ground, settings)
    yield from _quota(client)


def _token(known: Facts, token: Token) -> Iterator[Finding]:
    from claudetm.bootstrap.github import is_workflows_own

    whose = f"{token.source}, of {known.login}" if known.login else token.source
    if is_workflows_own(token, known):
        yield warn(
            "GitHub token",
            f"{whose}: a workflow's own, whose pull requests start no workflow",
            "set GH_TOKEN to the token of an account or an app",
        )
    elif "workflow" in known.lacking:
        yield warn(
            "GitHub token",
            f"{whose}, without the scope workflow, so no change of .github/workflows can be pushed",
            "`gh auth refresh --scopes workflow`, or make one that has it",
        )
    elif known.scopes is None:
        yield ok("GitHub token", f"{whose}; what it may do is seen by trying")
    else:
        yield ok("GitHub token", f"{whose}, with {', '.join(sorted(known.scopes)) or 'no scope'}")


def _access(ground: Ground, push: Callable[[], None]) -> Iterator[Finding]:
    """Say whether branches can be pushed and pull requests merged."""
    from claudetm.bootstrap.github import refuse_unfinishable, refuse_unpushable, refuse_unsigned

    known, hosted = ground.facts, ground.hosted
    try:
        refuse_unfinishable(known, hosted, ground.target)
        refuse_unpushable(known, ground.token, hosted)
        refuse_unsigned(known, hosted, ground.target)
        push()
    except ForgeBusy:
        raise
    except ClaudetmError as error:
        yield refused("GitHub access", error)
        return
    to = f", pushes to {known.push_to} ({_may(known.push_permission)})" if hosted.forked else ""
    yield ok("GitHub access", f"{known.repository} ({_may(known.permission)}){to}")
    if known.parent and not hosted.forked:
        yield warn(
            "GitHub fork",
            f"{known.repository} is a fork of {known.parent}, and pull requests are opened in the fork itself",
            f"git remote add upstream ADDRESS-OF-{known.parent}, if they are meant for that",
        )
    if known.kept_closed:
        yield warn(
            "GitHub rules",
            "a ruleset restricts making branches called claudetm/…",
            "ask for leave to bypass it, or see whether this account has it",
        )


def _may(permission: str) -> str:
    return permission.lower() or "permission unknown"


def _merging(ground: Ground, settings: Resolved) -> Iterator[Finding]:
    from claudetm.bootstrap.github import method, refuse_unchecked
    from claudetm.config import policy

    known, found = ground.facts, policy(settings)
    try:
        how = method(found, ground, settings, lambda _sentence: None)
    except ClaudetmError as error:
        yield refused("GitHub merging", ForgeError(str(error)))
    else:
        yield _by_whom(ground, how)
    yield ok("GitHub reviews", _reviews(found, known))
    if demands := list(_demands(known)):
        yield ok("GitHub rules", f"{ground.target}: {', '.join(demands)}")
    said: list[str] = []
    try:
        refuse_unchecked(found, ground, said.append)
    except ClaudetmError as error:
        yield refused("GitHub checks", ForgeError(str(error)))
    else:
        yield _gating(known, said[-1].removeprefix("checks: "))


def _reviews(found: Policy, known: Facts) -> str:
    from claudetm.bootstrap.github import awaited

    merges = found if known.may_merge else replace(found, auto_merge=False)
    return awaited(merges, max(found.reviews_required, known.approvals))


def _by_whom(ground: Ground, how: str) -> Finding:
    known = ground.facts
    allowed = f"{how} (allowed: {', '.join(known.methods)})"
    if known.may_merge:
        return ok("GitHub merging", allowed)
    return warn(
        "GitHub merging",
        f"{allowed}, and {known.login} may not merge into {known.repository}: a run stops where one is ready",
        "ask somebody who may to merge it; `claudetm resume` then goes on",
    )


def _demands(known: Facts) -> Iterator[str]:
    if known.conversations:
        yield "conversations must be resolved"
    if known.linear:
        yield "linear history"
    if known.queue:
        yield "a merge queue"


def _gating(known: Facts, said: str) -> Finding:
    if known.unchecked:
        return warn("GitHub checks", said, "add a workflow that runs on pull_request")
    return ok("GitHub checks", said)


def _quota(client: Asked) -> Iterator[Finding]:
    """Say what is left of the hour's requests."""
    seen = [(name, limit) for name in _RESOURCES if (limit := client.quota().of(name)) is not None]
    if not seen:
        return
    left = ", ".join(f"{limit.remaining} of {limit.limit} ({name})" for name, limit in seen)
    if any(limit.remaining <= limit.reserve for _, limit in seen):
        yield warn("GitHub quota", f"{left} left", "wait for the hour's end; a run waits by itself")
    else:
        yield ok("GitHub quota", f"{left} left")
