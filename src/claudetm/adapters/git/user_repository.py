"""Reads the user's repository once, before a run: where it is, what to land on, who commits, what it is lacking.

GitPython is right here, as this is the user's own repository under their own configuration. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from claudetm.adapters.git.git import GitMissing, require_version
from claudetm.adapters.git.user_refs import UserRefs
from claudetm.errors import RepositoryError

if TYPE_CHECKING:
    import git

NO_IDENTITY = "claudetm <claudetm@localhost>"


@dataclass(frozen=True, slots=True)
class UserRepository:
    """What is read of the user's repository. `remotes` maps names to URLs; `notes` are sentences for the user."""

    root: Path
    git_dir: Path  # of this worktree
    common_dir: Path  # what all worktrees share: objects, refs
    target: str  # the branch to land on
    base: str  # the commit to begin at
    author: str  # "Name <address>"
    remotes: Mapping[str, str]
    shallow: bool = False
    notes: tuple[str, ...] = ()
    push_urls: Mapping[str, str] = field(default_factory=dict)  # of remotes that are pushed to elsewhere

    @property
    def refs(self) -> UserRefs:
        """The writer of our refs in it."""
        return UserRefs(self.root, self.common_dir, self.author)


def inspect(path: Path, base: str | None = None) -> UserRepository:
    """Read the repository around `path`; `base` names the branch to land on.

    Without it that is the repository's default branch, where the remote says which it is; else the current one.

    Raises RepositoryError, one sentence each, for what cannot be worked in.
    """
    require_version()
    with _opened(path) as repo:
        root = Path(str(repo.working_tree_dir))
        common = Path(repo.common_dir).resolve()
        _refuse_partial(repo, root)
        _refuse_blocked_names(repo)
        target, commit = _base(repo, root, base)
        author, notes = _author(repo)
        notes += () if base else _elsewhere(repo, target)
        shallow = (common / "shallow").exists()
        remotes = {r.name: next(iter(r.urls), "") for r in repo.remotes}
        notes += ("The history is shallow: it begins where it was cut off.",) if shallow else ()
        notes += _left_out(repo, commit)
        pushed = _pushed_elsewhere(repo, remotes)
        return UserRepository(
            root, Path(repo.git_dir), common, target, commit, author, remotes, shallow, notes, pushed
        )


def _pushed_elsewhere(repo: git.Repo, remotes: Mapping[str, str]) -> dict[str, str]:
    found = {name: str(repo.git.remote("get-url", "--push", "--", name)) for name in remotes}
    return {name: url for name, url in found.items() if url != remotes[name]}


def locate(path: Path) -> tuple[Path, Path]:
    """Return the worktree around `path` and its shared git directory. Raises RepositoryError outside of one."""
    with _opened(path) as repo:
        return Path(str(repo.working_tree_dir)), Path(repo.common_dir).resolve()


def refuse_tracked(path: Path, folder: str, allowed: str) -> None:
    """Raise RepositoryError when git tracks anything below `folder` but the one file that a project may share.

    A journal says which commands run and a prompt says what agents do: neither may come with a clone.
    """
    with _opened(path) as repo:
        root = Path(str(repo.working_tree_dir))
        quiet = repo.git(c="core.fsmonitor=false")  # whoever reads the index asks it
        listed = str(quiet.ls_files("-z", "--", str(root / folder))).split("\0")
    found = [name for name in listed if name and name != f"{folder}/{allowed}"]
    if found:
        raise RepositoryError(
            f"git tracks {found[0]}, so what steers a run could come from whoever wrote this repository: "
            f"look at it, then git rm -r --cached {folder}."
        )


def tracks(root: Path, file: Path) -> bool:
    """Whether git tracks a file of the worktree `root`, by its index: what lies there may be somebody else's word.

    A tracked link or a submodule on the way to it says as much, and so does what a link of anybody's leads to.
    """
    ways = {file.relative_to(root)}
    with suppress(OSError, RuntimeError, ValueError):  # a loop, or out of this worktree
        ways.add(file.resolve().relative_to(root.resolve()))
    steps = {str(step).casefold() for way in ways for step in (way, *way.parents)}
    specs = {f":(icase,top,literal){way.parts[0]}" for way in ways}
    with _opened(root) as repo:
        quiet = repo.git(c="core.fsmonitor=false")
        listed = str(quiet.ls_files("-z", "--", *specs)).split("\0")
    return any(name and name.casefold() in steps for name in listed)


def tracks_below(root: Path, folder: Path) -> bool:
    """Whether git tracks anything in a folder of the worktree `root`."""
    with _opened(root) as repo:
        quiet = repo.git(c="core.fsmonitor=false")
        return bool(str(quiet.ls_files("-z", "--", f":(top,literal){folder.relative_to(root)}")))


def ignores(root: Path, file: Path) -> bool:
    """Whether git passes a file of the worktree `root` by, for any reason: the user's own excludes count."""
    import git

    with _opened(root) as repo:
        quiet = repo.git(c="core.fsmonitor=false")
        try:
            quiet.check_ignore("-q", "--", str(file))
        except git.GitCommandError:
            return False
        return True


def _opened(path: Path) -> git.Repo:
    try:
        import git
    except ImportError as e:  # it looks for git at once
        raise GitMissing from e
    try:
        repo = git.Repo(path, search_parent_directories=True)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError) as e:
        raise RepositoryError(f"{path} is not in a git repository: run git init there, or go to one.") from e
    _refuse_strangers(repo, path)
    if repo.bare or repo.working_tree_dir is None:
        repo.close()
        raise RepositoryError(f"{path} is a bare repository: run this in a clone of it.")
    return repo


def _refuse_strangers(repo: git.Repo, path: Path) -> None:
    """Raise RepositoryError where git itself refuses to look, as the repository is another user's."""
    import git

    try:
        repo.git.rev_parse("--git-dir")
    except git.GitCommandError as e:
        if "dubious ownership" not in str(e.stderr):
            return
        repo.close()
        raise RepositoryError(
            f"{path} belongs to another user, so git refuses to read it: "
            f"git config --global --add safe.directory {path}."
        ) from e


def _refuse_partial(repo: git.Repo, root: Path) -> None:
    with repo.config_reader() as config:
        promised = [s for s in config.sections() if s.startswith("remote ") and config.has_option(s, "promisor")]
        partial = config.has_option("extensions", "partialclone")
    if promised or partial:
        raise RepositoryError(
            f"{root} is a partial clone, whose files are fetched on demand: run git fetch --refetch --no-filter "
            "and remove the filter, or make a full clone."
        )


def _refuse_blocked_names(repo: git.Repo) -> None:
    if any(h.name == "claudetm" for h in repo.heads):
        raise RepositoryError(
            "A branch named claudetm is in the way of claudetm/…: git branch -m claudetm <new name>."
        )


def _base(repo: git.Repo, root: Path, base: str | None) -> tuple[str, str]:
    """Return the target branch and its commit."""
    if base is not None and (base.startswith("-") or not base.strip()):
        raise RepositoryError(f"{base!r} cannot be a branch: name one, such as main.")
    heads = {h.name: h for h in repo.heads}
    if not heads and not repo.head.is_valid():
        raise RepositoryError(f"{root} has no commits yet: make a first one.")
    if base is None:
        default = _default(repo)
        return (default, heads[default].commit.hexsha) if default in heads else _current(repo, root)
    if base in heads:
        return base, heads[base].commit.hexsha
    for remote in repo.remotes:
        for ref in remote.refs:
            if ref.remote_head == base:
                return base, ref.commit.hexsha
    raise RepositoryError(f"There is no branch {base} in {root}: git branch lists those there are.")


def _default(repo: git.Repo) -> str:
    """Return the default branch as the remote told it when it was cloned, or ""."""
    for remote in sorted(repo.remotes, key=lambda r: r.name != "origin"):
        told = Path(repo.common_dir, "refs", "remotes", remote.name, "HEAD")
        if told.is_file() and (name := told.read_text().partition(f"refs/remotes/{remote.name}/")[2].strip()):
            return name
    return ""


def _elsewhere(repo: git.Repo, target: str) -> tuple[str, ...]:
    """Return a note where the target, the default branch, is not the one that is checked out."""
    here = "" if repo.head.is_detached else repo.active_branch.name
    if here == target:
        return ()
    other = f"--base {here} takes {here}, where you are" if here else "you are on no branch"
    return (f"target: {target}, the repository's default branch; {other}",)


def _current(repo: git.Repo, root: Path) -> tuple[str, str]:
    if repo.head.is_detached:
        raise RepositoryError(f"HEAD of {root} is on no branch: switch to one, or name one with --base.")
    if not repo.head.is_valid():
        raise RepositoryError(f"{root} has no commits on {repo.active_branch.name}: make a first one.")
    return repo.active_branch.name, repo.head.commit.hexsha


def _left_out(repo: git.Repo, commit: str) -> tuple[str, ...]:
    """Return a note where the checkout has more than the commit that is begun from; an untracked file may be junk."""
    if not repo.head.is_valid() or repo.head.commit.hexsha != commit:
        return ()  # what lies in another branch's checkout was hardly meant
    quiet = repo.git(c="core.fsmonitor=false", no_optional_locks=True)
    listed = str(quiet.status("--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all"))
    return (f"uncommitted changes are not part of the run: it begins from {commit[:10]}",) if listed else ()


def _author(repo: git.Repo) -> tuple[str, tuple[str, ...]]:
    """Return who commits, as git itself would say, and a note when nobody said."""
    with repo.config_reader() as config:
        name = os.environ.get("GIT_AUTHOR_NAME") or str(config.get_value("user", "name", ""))
        mail = os.environ.get("GIT_AUTHOR_EMAIL") or str(config.get_value("user", "email", ""))
    if name and mail:
        return f"{name} <{mail}>", ()
    why = f"git knows no user.name and user.email here: commits are made as {NO_IDENTITY}."
    return NO_IDENTITY, (why,)
