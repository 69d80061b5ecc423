"""`claudetm undo`: what was set aside before a step that could have lost it, and a way back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.adapters.git.user_refs import UserRefs


def command(
    snapshot: str = typer.Argument("", help="A snapshot, or the end of its name, such as c1-2."),
    branch: str = typer.Option("", "--branch", help="The branch to make of it (claudetm/undo/1, 2, …)."),
) -> None:
    """List the snapshots of work that was set aside; with one named, make a branch of it."""
    from claudetm.adapters.git.user_refs import UserRefs
    from claudetm.adapters.git.user_repository import NO_IDENTITY, locate
    from claudetm.cli.state import here

    user = UserRefs(*locate(here()), NO_IDENTITY)
    if not snapshot:
        _list(user)
        return
    commit = _find(user, snapshot)
    name = _free(user, branch)
    user.git.run("update-ref", "--no-deref", "-m", "claudetm undo", f"refs/heads/{name}", commit, "0" * len(commit))
    print(f"{name} is at {commit[:10]}: `git switch {name}` goes there, `git diff HEAD...{name}` shows it")


def _list(user: UserRefs) -> None:
    from claudetm.redact import printable

    form = "--format=%(refname)  %(creatordate:format:%Y-%m-%d %H:%M)  %(subject)"
    refs = user.git.text("for-each-ref", form, "refs/claudetm/*/snapshots/*").strip()
    print(printable(refs) if refs else "There are no snapshots: nothing has been set aside.")


def _find(user: UserRefs, snapshot: str) -> str:
    from claudetm.errors import UsageError

    refs = user.list("refs/claudetm/*/snapshots/*")
    found = [n for n in refs if n == snapshot or n.endswith(f"/{snapshot}")]
    if len(found) != 1:
        what = "more than one snapshot" if found else "no snapshot"
        raise UsageError(f"There is {what} {snapshot}; `claudetm undo` lists them")
    return refs[found[0]].commit


def _free(user: UserRefs, wanted: str) -> str:
    """Return a branch's name that can be made. Raises UsageError for one that is taken or cannot be a branch."""
    from claudetm.adapters.git.git import GitFailed
    from claudetm.errors import UsageError

    taken = {name.removeprefix("refs/heads/") for name in user.list("refs/heads/")}
    if not wanted:
        return next(name for n in range(1, len(taken) + 2) if (name := f"claudetm/undo/{n}") not in taken)
    try:
        user.git.run("check-ref-format", "--branch", wanted)
    except GitFailed:
        raise UsageError(f"{wanted!r} cannot be a branch; name one, as in --branch rescue") from None
    if wanted in taken:
        raise UsageError(f"The branch {wanted} is there already; name another with --branch")
    return wanted
