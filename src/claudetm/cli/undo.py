"""`claudetm undo`: what was set aside before a step that could have lost it, and a way back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from claudetm.adapters.git.user_refs import UserRefs


def command(
    snapshot: str = typer.Argument("", help="A snapshot, or the end of its name, such as c1-2."),
    branch: str = typer.Option("", "--branch", help="The branch to make of it (claudetm/undo/1, 2, …)."),
    as_json: bool = typer.Option(False, "--json", help="Print the snapshots, or the branch that was made, as JSON."),
) -> None:
    """List the snapshots of work that was set aside; with one named, make a branch of it."""
    from claudetm.adapters.git.user_refs import UserRefs
    from claudetm.adapters.git.user_repository import NO_IDENTITY, locate
    from claudetm.cli.state import here, load, of_task
    from claudetm.errors import UsageError

    user = UserRefs(*locate(here()), NO_IDENTITY)
    task = of_task()
    kept = f"refs/claudetm/{load(task).id if task else '*'}/snapshots/*"
    if not snapshot:
        if branch:
            raise UsageError("--branch needs a snapshot to make the branch of; `claudetm undo` lists them")
        _list(user, kept, as_json)
        return
    commit = _find(user, kept, snapshot)
    name = _free(user, branch)
    user.git.run("update-ref", "--no-deref", "-m", "claudetm undo", f"refs/heads/{name}", commit, "0" * len(commit))
    if as_json:
        import json

        print(json.dumps({"branch": name, "commit": commit}))
    else:
        print(f"{name} is at {commit[:10]}: `git switch {name}` goes there, `git diff HEAD...{name}` shows it")


def _list(user: UserRefs, kept: str, as_json: bool) -> None:
    import json
    import time

    from claudetm.redact import printable

    form = "--format=%(refname)%00%(objectname)%00%(creatordate:unix)%00%(subject)"
    rows = [line.split("\0") for line in user.git.text("for-each-ref", form, kept).splitlines()]
    if as_json:
        names = ("snapshot", "commit", "time", "why")
        found = [dict(zip(names, (ref, commit, int(when), why), strict=True)) for ref, commit, when, why in rows]
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for ref, _, when, why in rows:
        print(printable(f"{ref}\n    {time.strftime('%Y-%m-%d %H:%M', time.localtime(int(when)))}  {why}"))
    if not rows:
        print("There are no snapshots: nothing has been set aside.")


def _find(user: UserRefs, kept: str, snapshot: str) -> str:
    from claudetm.errors import UsageError

    refs = user.list(kept)
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
    if clash := next((t for t in taken if t == wanted or _within(t, wanted) or _within(wanted, t)), ""):
        raise UsageError(f"The branch {clash} is there already; name another with --branch")
    return wanted


def _within(name: str, folder: str) -> bool:
    """Whether git would keep the one branch below the other, which it cannot."""
    return name.startswith(f"{folder}/")
