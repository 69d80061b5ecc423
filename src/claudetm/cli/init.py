"""`claudetm init`: prepare a repository, say what a run would find there. `--init-config` writes the file alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from claudetm.adapters.git.user_repository import UserRepository
    from claudetm.config import Resolved

_USUAL: Final = (
    "models.opus",
    "models.sonnet",
    "models.haiku",
    "git.target_branch",
    "git.auto_push",
    "forge",
    "merge.auto",
    "merge.method",
    "reviews.self",
    "verify",
    "plan.approve",
    "pause_on_pr",
    "checks.commands",
    "checks.none",
    "worktree.setup",
    "limits.sessions",
    "limits.cost_usd",
    "limits.session_minutes",
)
"""What people set. null in the file leaves a key to the user's own configuration, or to what is detected."""


def command() -> None:
    """Prepare this repository: the state directory, a configuration with what was detected."""
    from claudetm.adapters.git.user_repository import inspect, refuse_tracked
    from claudetm.adapters.store.directory import NAME, StateDirectory
    from claudetm.bootstrap.configuration import configuration
    from claudetm.cli.state import here

    where = here()
    user = inspect(where)
    state = StateDirectory(user.root / NAME)
    refuse_tracked(where, NAME, state.config.name)
    state.refuse_foreign()
    resolved = configuration(user.root)
    checks, setup = _detected(user)
    there = state.root.is_dir(), os.path.lexists(state.config)
    state.create(user.common_dir)
    if not there[1]:
        state.write_config(_starter({"checks.commands": list(checks), "worktree.setup": list(setup)}))
    for note in (*user.notes, *resolved.notes, *resolved.ignored):
        print(note)
    lines = {
        "state directory": f"{state.root} ({'there already' if there[0] else 'made'}; git does not see it)",
        "configuration": f"{state.config} ({'there already, left as it is' if there[1] else 'written'})",
        "checks": _commands(resolved, "checks.commands", checks, "none found: claudetm config set checks.commands …"),
        "set-up": _commands(resolved, "worktree.setup", setup, "none needed"),
        **_surroundings(resolved, user),
    }
    for name, text in lines.items():
        print(f"{name + ':':17}{text}")
    print(f"{'next:':17}{_next(resolved, checks)}")


def write_default() -> None:
    """Write the default configuration, never over one that is there. Raises UsageError."""
    from claudetm.adapters.git.user_repository import locate
    from claudetm.adapters.store.directory import NAME, StateDirectory
    from claudetm.cli.state import here
    from claudetm.errors import UsageError

    root, common = locate(here())
    state = StateDirectory(root / NAME)
    state.refuse_foreign()
    if os.path.lexists(state.config):
        raise UsageError(f"{state.config} is there already and is left as it is: `claudetm config set` changes it")
    state.create(common)
    state.write_config(_starter({}))
    print(f"{state.config} is written; `claudetm config show` says what counts")


def _starter(detected: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file with the usual keys as they hold for the user anyway, so that writing it changes nothing."""
    from claudetm.config import FILE_VERSION, KEYS, resolve, user_file

    resolved = resolve({}, {}, None, user_file())
    data: dict[str, Any] = {"version": FILE_VERSION}
    for name in _USUAL:
        value = KEYS[name].shown(resolved[name])
        if value in ("", []):
            value = detected.get(name) or None
        section, _, last = name.partition(".")
        if last:
            data.setdefault(section, {})[last] = value
        else:
            data[name] = value
    return data


def _detected(user: UserRepository) -> tuple[Sequence[str], Sequence[str]]:
    """Return the commands that check the repository and that set a checkout of it up."""
    from claudetm.adapters.commands import detect

    git = user.refs.git
    files = frozenset(git.run("ls-tree", "-r", "-z", "--name-only", user.base).items)

    def read(path: str) -> str:
        return git.text("show", f"{user.base}:{path}")

    return detect.checks(files, read), detect.setup(files, read)


def _commands(resolved: Resolved, name: str, detected: Sequence[str], otherwise: str) -> str:
    from claudetm.adapters.commands import detect

    configured = resolved[name]
    commands = configured or detected
    if not commands:
        return otherwise
    lacking = [tool for command in commands if (tool := detect.lacking(command))]
    amiss = f"; {lacking[0]} is not installed here" if lacking else ""
    return f"{', '.join(commands)} ({'configured' if configured else 'detected'}{amiss})"


def _surroundings(resolved: Resolved, user: UserRepository) -> dict[str, str]:
    """Return where a run would land, where its pull requests live, and what its sessions go by."""
    from claudetm.adapters.agent import access
    from claudetm.bootstrap.github import forge_used

    said: list[str] = []
    forge = "GitHub" if forge_used(resolved, user, said.append) else "local"
    chosen = access.choose(resolved, os.environ)
    used = access.conflict(resolved, os.environ) or (chosen.name if chosen else "none")
    return {
        "target branch": resolved["git.target_branch"] or user.target,
        "forge": said[0].removeprefix("forge: ") if said else forge,
        "credentials": used,
    }


def _next(resolved: Resolved, checks: Sequence[str]) -> str:
    from claudetm.adapters.agent import access

    if access.choose(resolved, os.environ) is None:
        return "log in with `claude` or set ANTHROPIC_API_KEY; or claudetm demo"
    if not (resolved["checks.commands"] or checks or resolved["checks.none"] == "pass"):
        return 'claudetm config set checks.commands "make test", say'
    return 'claudetm start "what shall be true at the end"'
