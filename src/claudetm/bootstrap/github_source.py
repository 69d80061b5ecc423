"""The source of tasks on GitHub, from the repository that the monitor works in: whether issues there could be tasks.

What can never work is refused here, before a monitor runs; a GitHub that does not answer now is waited for by it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from claudetm.adapters.forge.github.access import ssh_host
from claudetm.adapters.forge.github.place import Hosted, hosted
from claudetm.adapters.forge.github.refusals import NotFound
from claudetm.bootstrap.github import AT_ONCE, client_of, token_again
from claudetm.errors import ConfigError, ForgeBusy
from claudetm.ports.source import Mode

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.access import Token
    from claudetm.adapters.git.user_repository import UserRepository
    from claudetm.adapters.sources.github.settings import GithubIssuesSettings
    from claudetm.adapters.sources.github.source import GithubIssues
    from claudetm.config import Resolved
    from claudetm.ports.clock import Clock

_INSTALLATION: Final = "ghs_"  # such a token's rights are its own, and nothing tells them
_LONGEST_LABEL: Final = 50  # characters, at GitHub
_OWN: Final = "claudetm: "
_SCOPES: Final = frozenset({"repo", "public_repo"})


class Asked(Protocol):
    """What is asked of GitHub here: a part of `GithubClient`."""

    def get(self, path: str, **params: Any) -> Any:
        """Return what a path holds."""
        ...

    def scopes(self) -> frozenset[str] | None:
        """Return the scopes of a classic token; None of another."""
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """What decides whether issues can be tasks. None is what nobody tells."""

    repository: str
    issues: bool  # whether it has any
    archived: bool
    may_label: bool | None  # and comment
    level: str  # what the account may do: none, pull, triage, push, maintain or admin
    lacks: str  # a scope that the token lacks, or ""
    label: bool  # whether the label that makes an issue a task is there


def issues_at(user: UserRepository, resolved: Resolved, mode: Mode) -> Hosted:
    """Return where the issues are, without asking. Raises ConfigError where that is not on GitHub."""
    if resolved["forge"] == "local" and mode is Mode.GOAL:
        raise ConfigError(
            "The goals of GitHub issues need pull requests on GitHub, and forge is local: set it to auto, or "
            "monitor.mode to session"
        )
    found = hosted(
        user.remotes,
        user.push_urls,
        resolved["github.api_url"],
        os.environ,
        lambda alias: ssh_host(alias, os.environ),
        any_host=resolved["forge"] == "github",
    )
    if found is None:
        raise ConfigError(
            "No remote here is known to be on GitHub, so there are no issues to take tasks from: git remote add "
            "origin ADDRESS, set github.api_url for a server of your own, or take github out of monitor.source"
        )
    return found


def refuse_label(label: str) -> None:
    """Raise ConfigError for a label that issues cannot be listed by, or that says how a task ended."""
    if "," in label or len(label) > _LONGEST_LABEL or label.startswith(_OWN):
        raise ConfigError(
            f"monitor.label cannot be {label}: a label has no comma and at most {_LONGEST_LABEL} characters, and "
            f"those that begin with “{_OWN}” say how a task stands"
        )


def look(client: Asked, token: Token, place: Hosted, label: str) -> Ground:
    """Return what GitHub says of a repository's issues. Raises ForgeError; ConfigError where it is not to be seen."""
    try:
        told = client.get(f"/repos/{place.repository}")
    except NotFound:
        raise ConfigError(
            f"{place.repository} is not at GitHub, or the token of {token.source} may not see it: give it access, "
            "set another, or correct the remote"
        ) from None
    given = told.get("permissions") or {}
    level = next((name for name in ("admin", "maintain", "push", "triage", "pull") if given.get(name)), "none")
    known = None if token.value.startswith(_INSTALLATION) or not given else bool(given.get("push"))
    scopes = client.scopes()
    wanted = {"repo"} if told.get("private") else _SCOPES
    lacks = "" if scopes is None or scopes & wanted else "repo"
    there = _there(client, f"/repos/{place.repository}/labels/{quote(label, safe='')}")
    return Ground(
        place.repository, bool(told.get("has_issues")), bool(told.get("archived")), known, level, lacks, there
    )


def _there(client: Asked, path: str) -> bool:
    try:
        client.get(path)
    except NotFound:
        return False
    return True


def refuse_unfit(ground: Ground, token: Token) -> None:
    """Raise ConfigError where no issue could ever be a task, in one sentence."""
    if ground.archived:
        raise ConfigError(
            f"{ground.repository} is archived at GitHub, so nothing can be said on its issues: open it again, or "
            "take github out of monitor.source"
        )
    if not ground.issues:
        raise ConfigError(
            f"{ground.repository} has no issues, as its settings at GitHub turn them off: turn them on, or take "
            "github out of monitor.source"
        )
    if ground.may_label is False:
        raise ConfigError(
            f"The account of {token.source} may not label the issues of {ground.repository} ({ground.level} only): "
            "ask for write access, or use another token"
        )
    if ground.lacks:
        raise ConfigError(
            f"The token of {token.source} lacks the scope {ground.lacks}, so it could say nothing on the issues of "
            f"{ground.repository}: `gh auth refresh --scopes repo`, or make one that has it"
        )


def github_source(
    user: UserRepository,
    resolved: Resolved,
    settings: GithubIssuesSettings,
    clock: Clock,
    notice: Callable[[str], None],
) -> GithubIssues:
    """Return the source of tasks from the issues of a repository. Raises ConfigError, in one sentence."""
    from claudetm.adapters.sources.github.source import GithubIssues
    from claudetm.stages.description import harmless

    refuse_label(settings.label)
    place = issues_at(user, resolved, settings.mode)
    token = token_again(place)
    try:
        ground = look(client_of(place, token, AT_ONCE), token, place, settings.label)
    except ForgeBusy as busy:
        notice(f"issues: {busy}")
    else:
        refuse_unfit(ground, token)
        if not ground.label:
            notice(f"issues: {ground.repository} has no label {settings.label} yet; make it, then put it on an issue")
    heard = replace(settings, trusted=(*settings.trusted, *resolved["reviews.trusted"]))
    return GithubIssues(client_of(place, token), place.repository, heard, clock, harmless=harmless)
