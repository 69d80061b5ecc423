"""The clean room: a bare repository of the run's own. Every commit, merge and checkout of ours is made in it.

Its configuration is written by us and its objects are its own, so no agent can make git run anything here. What
comes from outside comes as objects, each hashed and linked again on arrival, never as configuration or refs.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claudetm.adapters.git.git import Git, GitFailed, commit_id, identity, require_version, transfer
from claudetm.errors import RepositoryError
from claudetm.ports.repository import Commit, Conflicted

MOST_COMMITS: Final = 200
MOST_DIFF: Final = 64 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class CleanRoom:
    """A bare repository that only we write. `author` ("Name <address>") signs what is committed here."""

    path: Path
    author: str

    @property
    def git(self) -> Git:
        """Git in the clean room."""
        return Git(self.path).having(**identity(self.author))

    @property
    def objects(self) -> Path:
        """Where its objects are."""
        return self.path / "objects"

    @property
    def lent(self) -> str:
        """The content of objects/info/alternates in a clone: it borrows the clean room's objects."""
        return f"{self.objects}\n"

    # objects that come in

    def take(self, objects: Path, commit: str, have: Iterable[str]) -> None:
        """Bring a commit in from a foreign object directory. `have` are commits that are here already."""
        transfer(self.git.reading(objects), self.git, commit, have)

    def has(self, commit: str) -> bool:
        """Whether the commit is here."""
        return not self.git.run("cat-file", "-e", f"{commit}^{{commit}}", accept=(0, 1, 128)).code

    def whole(self, commit: str) -> bool:
        """Whether the commit is here with all it needs; what branches and tags stand at is taken to be."""
        command = ("rev-list", "--objects", "--quiet", commit_id(commit), "--not", "--branches", "--tags")
        return not self.git.run(*command, accept=(0, 128)).code

    def among(self, commits: Sequence[str]) -> Sequence[str]:
        """Return those of the commits that are here."""
        asked = "".join(f"{commit_id(c)}^{{commit}}\n" for c in commits)
        rows = self.git.run("cat-file", "--batch-check=%(objecttype)", stdin=asked.encode()).text.splitlines()
        return tuple(c for c, row in zip(commits, rows, strict=True) if row == "commit")

    def keep(self, ref: str, commit: str) -> None:
        """Let a ref of ours stand at the commit."""
        self.git.run("update-ref", "--no-deref", ref, commit)

    def forget(self, ref: str) -> None:
        """Let a ref of ours be no more."""
        self.git.run("update-ref", "--no-deref", "-d", ref)

    def ref(self, name: str) -> str:
        """Return where a ref stands, or ""."""
        return self.git.run("rev-parse", "--verify", "-q", name, accept=(0, 1)).text

    # what is read

    def relation(self, ours: str, theirs: str) -> str:
        """Return the best common ancestor of two commits, or "" for unrelated ones."""
        return self.git.run("merge-base", commit_id(ours), commit_id(theirs), accept=(0, 1)).text

    def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether the ancestor is reachable from the descendant."""
        if descendant == ancestor:
            return True
        command = ("merge-base", "--is-ancestor", commit_id(ancestor), commit_id(descendant))
        return not self.git.run(*command, accept=(0, 1)).code

    def commits(self, since: str, head: str) -> Sequence[Commit]:
        """Return the commits of head that since lacks, oldest first, the newest 200."""
        form = "--format=%H%x00%s%x00%an <%ae>%x00%b%x00"
        limits = ("--reverse", f"--max-count={MOST_COMMITS}", "--no-show-signature", form)
        fields = self.git.text("log", *limits, commit_id(head), f"^{commit_id(since)}", "--").split("\0")
        rows = zip(fields[0::4], fields[1::4], fields[2::4], fields[3::4], strict=False)
        return tuple(Commit(i.strip(), subject, author, body.strip()) for i, subject, author, body in rows)

    def changed_paths(self, since: str, head: str) -> Sequence[str]:
        """Return the paths that differ between two commits."""
        command = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", commit_id(since), commit_id(head))
        return tuple(self.git.run(*command).items)

    def diff(self, since: str, head: str, paths: Sequence[str]) -> str:
        """Return the patch between two commits on the paths, bounded, undecodable bytes replaced."""
        plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/")
        command = ("diff-tree", "-r", "-p", *plain, commit_id(since), commit_id(head))
        return self.git.run(*command, "--", *paths).out[:MOST_DIFF].decode(errors="replace")

    def touched(self, commit: str, since: str, paths: Sequence[str]) -> Sequence[str]:
        """Return those of the paths that any commit after `since` touched, also if a later one took it back."""
        command = ("log", "--full-history", "-m", "-z", "--format=", "--name-only", "--no-renames")
        names = self.git.run(*command, commit_id(commit), f"^{commit_id(since)}", "--", *paths).items
        return tuple(sorted({n.strip("\n") for n in names}))

    def tracked(self, commit: str, paths: Sequence[str]) -> Sequence[str]:
        """Return the files of a commit at or below the paths; no path means all files."""
        return tuple(self.git.run("ls-tree", "-r", "-z", "--name-only", commit_id(commit), "--", *paths).items)

    def read_file(self, commit: str, path: str) -> str | None:
        """Return a file of a commit, or None."""
        done = self.git.run("cat-file", "blob", f"{commit_id(commit)}:{path}", accept=(0, 128))
        return None if done.code else done.out.decode(errors="replace")

    def parents(self, commit: str) -> tuple[str, tuple[str, ...]]:
        """Return a commit's tree and parents."""
        tree, parents = self.git.text("log", "-1", "--format=%T%n%P", commit_id(commit)).split("\n")
        return tree, tuple(parents.split())

    def entered(self, base: str, head: str) -> str:
        """Return the first commit on base's own line that contains head; head itself after a fast-forward."""
        line = ("rev-list", "--first-parent", "--ancestry-path", commit_id(base), f"^{commit_id(head)}")
        rows = self.git.text(*line).split()
        return rows[-1] if rows else head

    def unpublished(self, commit: str) -> bool:
        """Whether the commit holds work that was neither there at the start nor pushed since, by us or by others."""
        published = ("--glob=refs/claudetm/pushed/*", f"--glob={SEEN}/*")
        command = ("rev-list", "--max-count=1", commit_id(commit), "--not", START, *published)
        return bool(self.git.text(*command))

    # what is made

    def merge_tree(self, ours: str, theirs: str) -> str | Conflicted:
        """Return the tree of the merge of two commits, or the paths where they clash."""
        command = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z")
        done = self.git.run(*command, commit_id(ours), commit_id(theirs), accept=(0, 1))
        tree, *paths = done.items
        return Conflicted(tuple(dict.fromkeys(paths)), tree) if done.code else tree

    def commit_tree(self, tree: str, parents: Sequence[str], message: str) -> str:
        """Return a new commit of a tree."""
        ancestry = [a for p in parents for a in ("-p", commit_id(p))]
        return self.git.run("commit-tree", "--no-gpg-sign", *ancestry, tree, stdin=message.encode()).text

    # clones and checkouts

    def lay_out(self, folder: Path, commit: str, branch: str = "") -> None:
        """Make a repository of its own in a new folder: borrowed objects, the tags, no remote; checked out.

        On `branch`, or detached where that is "". Needs no configuration, so none of it can be somebody else's.
        """
        inner = folder / ".git"
        for name in ("objects/info", "objects/pack", "info"):
            (inner / name).mkdir(parents=True)
        (inner / "objects" / "info" / "alternates").write_text(self.lent)
        (inner / "refs" / "heads").mkdir(parents=True)
        (inner / "config").write_text(self._clone_config())
        (inner / "packed-refs").write_text("".join(self._packed_tags()))
        for name in ("shallow", "info/exclude"):
            if (self.path / name).exists():
                shutil.copyfile(self.path / name, inner / name)
        if branch:
            file = inner / "refs" / "heads" / branch
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{commit}\n")
        (inner / "HEAD").write_text(f"ref: refs/heads/{branch}\n" if branch else f"{commit}\n")
        Git(inner, folder).run("read-tree", "--reset", "-u", commit_id(commit))

    def _clone_config(self) -> str:
        who = identity(self.author)
        name, mail = (
            who[k].replace("\\", "").replace('"', "").replace("\n", " ")
            for k in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")
        )
        own = f'[user]\n\tname = "{name}"\n\temail = "{mail}"\n'
        return (self.path / "config").read_text() + own + "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"

    def _packed_tags(self) -> Iterable[str]:
        """Yield the lines of packed-refs that are about tags, each with the `^` line it may have."""
        file, tag = self.path / "packed-refs", False
        for line in file.read_text().splitlines(keepends=True) if file.exists() else ():
            if not line.startswith("^"):
                tag = line.startswith("#") or " refs/tags/" in line
            if tag:
                yield line


def open_clean_room(
    path: Path,
    user_git_dir: Path,
    base: str,
    author: str,
    excludes: Sequence[str],
    bring: Bring | None = None,
) -> CleanRoom:
    """Return the clean room at `path`, made from the user's repository when it is not there yet. Idempotent.

    Its objects are hard links to the user's. `excludes` are paths that no status or snapshot takes up. `bring` brings
    the base in where the user's repository has not got it.
    """
    require_version()
    room = CleanRoom(path, author)
    if not path.exists():
        fresh = path.with_name(f".{path.name}.new")
        remove_tree(fresh)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        _clone(fresh, user_git_dir)
        _furnish(CleanRoom(fresh, author), user_git_dir, base, bring)
        fresh.rename(path)
    (path / "info").mkdir(exist_ok=True)
    (path / "info" / "exclude").write_text("".join(f"/{_literal(e)}\n" for e in excludes))
    return room


def _clone(fresh: Path, user_git_dir: Path) -> None:
    """Copy the user's objects and tags. Upload-pack only serves a folder of another owner when told so."""
    trust = fresh.with_name(f"{fresh.name}.trust")
    trust.write_text(f'[safe]\n\tdirectory = "{user_git_dir}"\n')
    source = Git(user_git_dir).having(GIT_CONFIG_GLOBAL=str(trust))
    try:
        source.run("clone", "--bare", "--local", "--template=", "-q", str(user_git_dir), str(fresh))
    except GitFailed as e:
        raise RepositoryError(f"The repository at {user_git_dir} cannot be copied: {e}") from e
    finally:
        trust.unlink()


def _furnish(room: CleanRoom, user_git_dir: Path, base: str, bring: Bring | None) -> None:
    """Leave of the copy only objects, tags and the run's base; no remote, no branch."""
    room.git.run("config", "--remove-section", "remote.origin")
    room.git.run("config", "core.bare", "false")
    if bring and not room.whole(base):
        bring(room, base)  # while the branches are there, which say what need not come
    listed = room.git.text("for-each-ref", "--format=delete %(refname)", "refs/heads", "refs/remotes")
    room.git.run("update-ref", "--no-deref", "--stdin", stdin=listed.encode() + b"\n" if listed else b"")
    (room.path / "HEAD").write_text("ref: refs/heads/none\n")
    if not room.has(commit_id(base)):
        room.take(user_git_dir / "objects", base, ())
    room.keep(START, base)


START: Final = "refs/claudetm/start"
SEEN: Final = "refs/claudetm/seen"
"""Where the clean room keeps what remotes had: a ref for each address and name."""
Bring = Callable[[CleanRoom, str], None]
"""Brings a commit into a clean room from elsewhere, or raises RepositoryError."""


def _literal(path: str) -> str:
    """Return a path as a pattern of .gitignore that matches it alone."""
    return "".join(f"\\{c}" if c in "\\*?[]! #" else c for c in path)


def remove_tree(path: Path) -> None:
    """Remove a folder and all below it, also what was made read-only. Absent counts as removed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        _unlock(path)
        shutil.rmtree(path)


def _unlock(path: Path) -> None:
    """Make every folder writable, so that what lies in it can be removed. Links are not followed."""
    path.chmod(stat.S_IRWXU)
    for folder, names, _ in os.walk(path):
        for inner in (Path(folder, name) for name in names):
            if not inner.is_symlink():
                inner.chmod(stat.S_IRWXU)
