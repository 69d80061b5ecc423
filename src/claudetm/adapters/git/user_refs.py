"""The only writer into the user's repository: refs below refs/heads/claudetm/ and refs/claudetm/, and the landing.

Every move names the commit it moves from, so what somebody else did meanwhile is found, never overwritten.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claudetm.adapters.git.git import QUIET, Git, GitFailed, commit_id, identity, run
from claudetm.adapters.git.landing import Landing, take_back
from claudetm.errors import RepositoryError
from claudetm.ports.repository import Landed, NotLanded

OURS: Final = ("refs/heads/claudetm/", "refs/claudetm/")


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a ref stands, and the worktree of the user's that has it checked out, or ""."""

    commit: str
    worktree: str = ""


@dataclass(frozen=True, slots=True)
class UserRefs:
    """The refs of the user's repository. `root` is the worktree they work in, `git_dir` what all worktrees share."""

    root: Path
    git_dir: Path
    author: str

    @property
    def git(self) -> Git:
        """Git on the shared directory: no worktree, no index."""
        return Git(self.git_dir).having(**identity(self.author))

    @property
    def objects(self) -> Path:
        """Where the user's objects are."""
        return self.git_dir / "objects"

    def list(self, *prefixes: str) -> Mapping[str, Ref]:
        """Return the refs at or below each prefix, by full name."""
        form = "--format=%(refname)%00%(objectname)%00%(worktreepath)"
        rows = (line.split("\0") for line in self.git.text("for-each-ref", form, *prefixes).splitlines())
        return {name: Ref(commit, worktree) for name, commit, worktree in rows}

    def find(self, name: str) -> Ref | None:
        """Return one ref, or None."""
        return self.list(name).get(name)

    def reaches(self, commit: str) -> bool:
        """Whether a branch, of theirs or of a remote, contains the commit: so it is here, and all before it."""
        try:
            return not self.git.text(
                "rev-list", "--max-count=1", commit_id(commit), "--not", "--branches", "--remotes"
            )
        except GitFailed:
            return False  # it is not even there

    def tips(self, most: int) -> Sequence[str]:
        """Return the commits that branches stand at, the newest first."""
        listed = ("--sort=-committerdate", f"--count={most}", "--format=%(objectname)")
        return self.git.text("for-each-ref", *listed, "refs/heads", "refs/remotes").split()

    def swap(self, name: str, commit: str, old: str) -> bool:
        """Move a ref of ours from `old` ("" for absent) to the commit; False when it stands elsewhere by now."""
        try:
            self._update(ours(name), commit, old)
        except GitFailed:
            found = self.find(name)
            if (found.commit if found else "") == old:
                raise
            return False
        return True

    def _update(self, name: str, commit: str, old: str) -> None:
        self.git.run("update-ref", "--no-deref", "-m", "claudetm", name, commit_id(commit), old)

    def land(self, commit: str, target: str, at: Ref, named: str, landing: Landing) -> Landed | NotLanded:
        """Fast-forward the target from `at` to a commit that descends from it; `named` is how a person says it.

        Where it is checked out in the user's own worktree and nothing there is modified, the checkout goes along.
        What a driver that was killed here had begun to write is no modification.
        """
        if not at.worktree:
            return self._land_ref(commit, target, at, named)
        here = Path(at.worktree).resolve() == self.root.resolve()
        command = f"git {'' if here else f'-C {at.worktree} '}merge --ff-only {named}"
        if not here:
            return NotLanded(f"{target} is checked out in {at.worktree}", command)
        if landing.begun:
            take_back(self.in_checkout, self.root, {self._own_git_dir(), self.git_dir}, at.commit, landing.begun)
        if reason := self._unclean():
            return NotLanded(reason, command)
        landing.begin(commit)
        return self._land_checkout(commit, command, landing)

    def _land_ref(self, commit: str, target: str, at: Ref, named: str) -> Landed | NotLanded:
        try:
            self._update(f"refs/heads/{target}", commit, at.commit)
        except GitFailed as e:
            return NotLanded(f"{target} could not be moved: {e}", f"git fetch . {named}:{target}")
        return Landed("fast_forwarded")

    def _unclean(self) -> str:
        """Return why the user's checkout must be left alone, or ""."""
        listed = self.in_checkout("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty")
        if changed := [os.fsdecode(row[3:]) for row in listed.split(b"\0") if row]:
            return f"the checkout has uncommitted changes ({', '.join(changed[:3])})"
        own = self.in_checkout("rev-parse", "--absolute-git-dir").decode(errors="surrogateescape").strip()
        busy = [
            n for n in ("MERGE_HEAD", "rebase-merge", "rebase-apply", "CHERRY_PICK_HEAD") if Path(own, n).exists()
        ]
        return f"the checkout is in the middle of something ({busy[0]})" if busy else ""

    def _land_checkout(self, commit: str, command: str, landing: Landing) -> Landed | NotLanded:
        """Let git move branch, index and files. Files that git does not track are never overwritten."""
        options = ("--ff-only", "--no-autostash", "--no-overwrite-ignore", "--no-verify-signatures", "--quiet")
        original = self._own_git_dir() / "ORIG_HEAD"
        before = original.read_bytes() if original.exists() else None
        try:
            self.in_checkout("merge", *options, commit_id(commit), inherits=(landing.descriptor,))
        except GitFailed as e:
            original.unlink(missing_ok=True)  # git writes it before it looks whether it can move
            if before is not None:
                original.write_bytes(before)
            return NotLanded(f"the checkout could not be moved: {e}", command)
        return Landed("checkout_updated")

    def _own_git_dir(self) -> Path:
        """Return the git directory of the user's own worktree, which may be a linked one."""
        return Path(os.fsdecode(self.in_checkout("rev-parse", "--absolute-git-dir").removesuffix(b"\n")))

    def in_checkout(self, *arguments: str, stdin: bytes = b"", inherits: tuple[int, ...] = ()) -> bytes:
        """Run git in the user's worktree, under their own configuration (their filters apply), hooks off."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        options = (*QUIET, "-c", "submodule.recurse=false", "-c", "merge.stat=false")
        command = ["git", *options, *arguments]
        return run(command, environment | identity(self.author), self.root, stdin=stdin, inherits=inherits).out


def ours(ref: str) -> str:
    """Return a ref that is ours to write. Raises RepositoryError for any other."""
    if not ref.startswith(OURS):
        raise RepositoryError(f"{ref} is not ours to write.")
    return ref
