"""What begins with a run that is no goal: a session or a question. It has no pull request, so no gate and no forge.

What could never be kept, pushed or loaded is refused here, before a cent is spent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from claudetm.adapters.git.user_repository import UserRepository
from claudetm.config import Resolved
from claudetm.errors import ConfigError, UsageError
from claudetm.workflow.policy import Policy
from claudetm.workflow.run import Keep, Material
from claudetm.workflow.stages import Mode

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.place import Hosted
    from claudetm.adapters.git.remote import Remote

BRANCHES: Final = "claudetm/task/"
"""Where the branches of sessions' work are."""
QUESTIONS: Final = 2  # sessions that may try to answer
_SKILL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TEXT: Final = 32_768  # characters of one text that came along
_TEXTS: Final = 40


def refuse_mixed(mode: Mode, *, of_goals: Mapping[str, object], of_sessions: Mapping[str, object]) -> None:
    """Raise UsageError for what another mode has alone; each mapping tells by name what was given."""
    for only, given in ((Mode.GOAL, of_goals), (Mode.SESSION, of_sessions)):
        if mode is not only and (found := [name for name, value in given.items() if value]):
            raise UsageError(f"A {mode} takes no {found[0]}, which is a {only}'s alone: leave it out, or make it one")


def laid_out(found: Policy, mode: Mode) -> Policy:
    """Return the policy of a run that opens no pull request: nothing waits for one, and nothing is verified."""
    return replace(
        found,
        verify=False,
        land=False,
        self_review=False,
        approve_plan=False,
        pr_per_task=False,
        max_prs=None,
        pause_on_pr=False,
        checks=(),
        checks_none="pass",
        merge_method="merge",
        attempts=min(found.attempts, QUESTIONS) if mode is Mode.QUESTION else found.attempts,
    )


def material_of(texts: Sequence[Material]) -> tuple[Mapping[str, str], ...]:
    """Return what came with it as the journal has it: UTF-8, without NUL, bounded."""
    return tuple({"title": _plain(m.title)[:200], "text": _plain(m.text)[:_TEXT]} for m in texts[:_TEXTS])


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\0", "")


def refuse_skill(name: str, found: Policy, user: UserRepository) -> None:
    """Raise ClaudetmError for a skill that no session could load: it is the project's, trusted and there, or none."""
    if not name:
        return
    if not _SKILL.fullmatch(name):
        raise UsageError(f"{name[:80]!r} cannot be a skill's name: use letters, digits, dashes and underscores")
    if not found.trust_project_settings:
        raise ConfigError(
            f"The skill {name} is the project's own word to agents, and nobody has said that it is trusted: pass"
            " --trust-project-settings, or set trust_project_settings in the user configuration"
        )
    path = f".claude/skills/{name}/SKILL.md"
    if not user.refs.git.run("ls-tree", "-r", "--name-only", user.base, "--", path).text:
        raise ConfigError(f"The project has no skill {name} at {user.base[:10]}: commit {path}, or name another")


def keep_of(task: str, resolved: Resolved, user: UserRepository, *, commit: bool, push: bool) -> Mapping[str, Any]:
    """Return where a session's work goes, as the journal has it; `task` is the slug that names the branch.

    Raises ClaudetmError where it never could go there.
    """
    if push and not commit:
        raise UsageError("Work that is not committed cannot be pushed: add --auto-commit to --auto-push")
    if not commit:
        return {}
    branch = f"{BRANCHES}{task}"
    _refuse_taken(branch, user)
    return {"branch": branch, "remote": _remote(resolved, user) if push else {}}


def _refuse_taken(branch: str, user: UserRepository) -> None:
    """Raise UsageError where a branch has commits that work begun here would not have."""
    name = f"refs/heads/{branch}"
    at = user.refs.list(name).get(name)
    if at and user.refs.git.run("merge-base", "--is-ancestor", at.commit, user.base, accept=(0, 1)).code:
        raise UsageError(
            f"The branch {branch} has commits that {user.target} has not, so this work cannot go onto it: merge it,"
            f" or delete it by `git branch -D {branch}`"
        )


def place_of(resolved: Resolved, user: UserRepository) -> Hosted | None:
    """Return where on GitHub the repository is, None where it is not. Nothing is asked over the network."""
    from claudetm.adapters.forge.github.access import ssh_host
    from claudetm.adapters.forge.github.place import hosted

    return hosted(
        user.remotes,
        user.push_urls,
        resolved["github.api_url"],
        os.environ,
        lambda alias: ssh_host(alias, os.environ),
        any_host=resolved["forge"] == "github",
    )


def _remote(resolved: Resolved, user: UserRepository) -> Mapping[str, str]:
    """Return where it is pushed to; whether that lets us in is tried, and nothing moves."""
    from claudetm.adapters.forge.github.place import hosted_to_data
    from claudetm.adapters.git.remote import address
    from claudetm.bootstrap import github

    if (place := place_of(resolved, user)) is not None:
        github.token_of(place)
        found = hosted_to_data(place)
    else:
        found = {"url": address(_url(user)).url}
    remote_of(found).try_push(user.author)
    return found


def _url(user: UserRepository) -> str:
    """Return the address of the remote that is pushed to: origin's, else the only one's."""
    name = "origin" if "origin" in user.remotes or len(user.remotes) != 1 else next(iter(user.remotes))
    if not (url := user.push_urls.get(name) or user.remotes.get(name)):
        raise UsageError("There is no remote to push to: git remote add origin ADDRESS, or leave --auto-push out")
    return url


def remote_of(found: Mapping[str, str]) -> Remote:
    """Return git's way to where a session's work is pushed, from what its journal says."""
    from claudetm.adapters.forge.github.place import hosted_from_data
    from claudetm.adapters.git.remote import Remote
    from claudetm.bootstrap import github

    if "api" in found:
        return github.remote_of(hosted_from_data(found))
    return Remote(found["url"], "", str, os.environ)


def remote_kept(keep: Keep) -> Remote | None:
    """Return where a run's kept work is pushed, or None."""
    return remote_of(keep.remote) if keep.remote else None
