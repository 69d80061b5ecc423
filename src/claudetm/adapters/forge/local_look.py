"""The local forge's pull requests as a person finds them: records and refs, read at once. No check is started.

Loads nothing heavy, so that commands which only look can use it. What it reads may change under it: it holds no lock.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from claudetm.adapters.forge.local_journal import US, CheckResult, ForgeJournal, PullRecord, log_of
from claudetm.adapters.forge.looking import Seen
from claudetm.adapters.git.git import ENVIRONMENT, QUIET, Git, GitFailed, run
from claudetm.adapters.git.user_refs import Ref, UserRefs
from claudetm.errors import RepositoryError
from claudetm.ports.forge import SETUP, CheckLog
from claudetm.workflow.pull_request import Check, CheckState, PullRequest, PullRequestState
from claudetm.workflow.run import Run


class LocalLook:
    """The records of a run, beside its driver or without one. `root` is the worktree the user works in."""

    def __init__(self, root: Path, state: Path, of: Run) -> None:
        """Name where it all lies; `of` is the run as its journal tells it."""
        self.root = root
        self.journal = ForgeJournal(state / "forge" / "journal.jsonl")
        self._run = of
        self._base = f"refs/heads/claudetm/{of.id}/base"
        self._user = UserRefs(root, _common(root), of.author)

    @property
    def _git(self) -> Git:
        return self._user.git

    # pull requests

    def pulls(self) -> list[Seen]:
        """Return all, in the order they were opened. Raises JournalError, RepositoryError."""
        self.journal.refresh()
        if not self.journal.pulls:
            return []
        prefixes = (f"refs/claudetm/{self._run.id}/", f"refs/heads/claudetm/{self._run.id}/")
        refs = self._user.list(*prefixes, f"refs/heads/{self._run.target}")
        return [self._seen(p, refs) for p in self.journal.pulls.values()]

    def _seen(self, record: PullRecord, refs: Mapping[str, Ref]) -> Seen:
        change = self._run.changes.get(record.change)
        ref = refs.get(f"refs/heads/{record.branch}")
        mine = change is not None and change.number == record.number
        head = ref.commit if ref else (change.head if change and mine else "") or record.head
        base = refs[self._base].commit if self._base in refs else ""
        state, by, commit = self._ended(record, refs, head)
        tested, checks, results = self._checks(record, head)
        pull = PullRequest(
            record.number,
            record.branch,
            head,
            base,
            tested,
            record.branch,
            state,
            commit,
            by,
            behind=bool(tested) and tested != base,
            checks=checks,
            threads=tuple(record.threads.values()),
            approvals=record.approvals,
            objections=record.objections,
        )
        approved = tuple(person for person, approves in record.verdicts.items() if approves)
        since = self._since(record, state, by, commit) or base or record.base
        logs = {name: result.log for name, result in results.items()}
        title, body = record.title, record.body
        return Seen(pull, record.change, title, body, since, ref is None, approved, tuple(results), logs)

    def _ended(self, record: PullRecord, refs: Mapping[str, Ref], head: str) -> tuple[PullRequestState, str, str]:
        """Return whether it is open, who ended it, and the commit it was merged as."""
        change = self._run.changes.get(record.change)
        if change and change.number == record.number and change.merge_commit:
            return PullRequestState.MERGED, change.merged_by, change.merge_commit
        base, merge = refs.get(self._base), refs.get(f"refs/claudetm/{self._run.id}/{record.change}/merge")
        if base and merge and self._contains(base.commit, merge.commit):
            return PullRequestState.MERGED, US, merge.commit
        if self._taken(record, refs, head):
            return PullRequestState.MERGED, "a person", head
        if record.closed_by or f"refs/heads/{record.branch}" not in refs:
            return PullRequestState.CLOSED, record.closed_by or "a person", ""
        return PullRequestState.OPEN, "", ""

    def _taken(self, record: PullRecord, refs: Mapping[str, Ref], head: str) -> bool:
        """Whether somebody has merged it by hand, into the run's base or the branch that is theirs."""
        tips = [refs[n].commit for n in (self._base, f"refs/heads/{self._run.target}") if n in refs]
        return (
            any(self._contains(tip, head) for tip in tips)
            and self._contains(head, record.head)
            and not self._contains(record.base, record.head)
        )

    def _since(self, record: PullRecord, state: PullRequestState, by: str, commit: str) -> str:
        """Return what a merged one is compared with: the base as it was before, or "" for one that is not merged."""
        if state is not PullRequestState.MERGED:
            return ""
        return f"{commit}^1" if by == US else record.base

    def _contains(self, descendant: str, ancestor: str) -> bool:
        # 128: a commit is not there any more
        asked = self._git.run("merge-base", "--is-ancestor", ancestor, descendant, accept=(0, 1, 128))
        return asked.code == 0

    # checks

    def _checks(self, record: PullRecord, head: str) -> tuple[str, tuple[Check, ...], Mapping[str, CheckResult]]:
        """Return the base that the head was tested with last, how its checks stand, and what they reported."""
        results = record.results.get(head, [])
        newest = {r.name: r for r in results if (r.base, r.commands) == (results[-1].base, results[-1].commands)}
        names = [*newest] if SETUP in newest else self._due(newest)
        return results[-1].base if results else "", tuple(_check(n, newest.get(n)) for n in names), newest

    def _due(self, newest: Mapping[str, CheckResult]) -> list[str]:
        commands = [c.strip().splitlines()[0][:80] for c in self._run.policy.checks if c.strip()]
        return list(dict.fromkeys([*newest, *commands]))

    def log(self, seen: Seen, check: str) -> CheckLog:
        """Return what a check wrote; "" where its log is gone, or it has not reported."""
        results = self.journal.pull(seen.pull.number).results.get(seen.pull.head, [])
        found = [r for r in results if r.name == check and r.log == seen.logs.get(check)]
        return log_of(found[-1]) if found else CheckLog()

    def withdraw(self, number: int) -> PullRequestState:
        """Close one unmerged, in the name of the run. Closed already, by whomever, it stays so."""
        self.journal.refresh()
        pull = self.journal.pull(number)
        self.journal.append(lambda: None if pull.closed_by else {"kind": "closed", "number": number, "by": US})
        return PullRequestState.CLOSED

    # what is in it

    def diff(self, seen: Seen, *, stat: bool = False) -> str:
        """Return what it changes, since it left the base. No program of the repository's is run for that."""
        options = ("--no-ext-diff", "--no-textconv", "--no-color", *(("--stat=80",) if stat else ()))
        return self._git.run("diff", *options, f"{seen.since}...{seen.pull.head}", "--").out.decode(errors="replace")

    def changed(self, seen: Seen) -> list[str]:
        """Return the paths that it changes, those it removes included."""
        names = self._git.run("diff", "--no-renames", "--name-only", "-z", f"{seen.since}...{seen.pull.head}", "--")
        return names.items

    def lines(self, seen: Seen, path: str) -> int | None:
        """Return how many lines a file has at the head, or None where there is no such file."""
        try:
            text = self._git.run("cat-file", "blob", f"{seen.pull.head}:{path}").out
        except GitFailed:
            return None
        return text.count(b"\n") + (not text.endswith(b"\n") and bool(text))

    def person(self) -> str:
        """Return git's name for the user, or ""."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("GIT_DIR") and k != "GIT_WORK_TREE"}
        asked = run(["git", "config", "--get", "user.name"], inherited, self.root, accept=(0, 1))
        return asked.text.strip()


def _check(name: str, result: CheckResult | None) -> Check:
    if result is None:
        return Check(name, CheckState.PENDING)
    return Check(name, CheckState.PASSED if result.ok else CheckState.FAILED, summary=result.summary)


def _common(root: Path) -> Path:
    """Return the directory that all worktrees of the user's repository share."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), **ENVIRONMENT}
    asked = run(["git", *QUIET, "rev-parse", "--path-format=absolute", "--git-common-dir"], environment, root)
    if not asked.text:
        raise RepositoryError(f"{root} is not in a git repository: run git init there, or go to one.")
    return Path(asked.text)
