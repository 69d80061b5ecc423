"""A forge without a server: pull requests between branches of the user's repository, merged into claudetm/<run>/base.

What refs can say is read from refs (head, merged, closed by deleting the branch); only what they cannot is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from claudetm.adapters.forge.local_checks import CheckSettings, LocalChecks
from claudetm.adapters.forge.local_journal import US, ForgeJournal, PullRecord, log_of
from claudetm.adapters.git.run_repository import RunRepository, no_fault
from claudetm.adapters.git.user_refs import Ref
from claudetm.errors import ForgeError
from claudetm.ports.commands import Commands
from claudetm.ports.forge import (
    BaseChanged,
    CheckLog,
    HeadChanged,
    MergeConflict,
    MergeDone,
    MergeOutcome,
    MergeRefused,
    NewPullRequest,
    Note,
    Opposed,
)
from claudetm.ports.repository import Conflicted
from claudetm.workflow.pull_request import PullRequest, PullRequestState

PERSON: Final = "a person"
HINT_SECONDS: Final = 0.5
_TRIES: Final = 10

Refs = Mapping[str, Ref]


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a pull request came to be open no more."""

    state: PullRequestState
    by: str
    commit: str = ""


class LocalForge:
    """The port `Forge`, inside the user's repository."""

    def __init__(
        self,
        repository: RunRepository,
        target: str,
        journal: ForgeJournal,
        commands: Commands,
        checks: CheckSettings,
        faults: Callable[[str], None] = no_fault,
    ) -> None:
        """Take the run's repository, the branch that it lands on, the records, and the project's checks."""
        self._repository = repository
        self._target = f"refs/heads/{target}"
        self._branch = f"claudetm/{repository.run}/base"
        self._base = f"refs/heads/{self._branch}"
        self._journal = journal
        self._woken = asyncio.Event()
        self._hinted = -1  # how long the records were at the last hint
        self._checks = LocalChecks(repository, commands, checks, journal, self._woken.set)
        self._faults = faults
        self._contained: dict[tuple[str, str], bool] = {}
        self._clashes: dict[tuple[str, str], bool] = {}
        self._told_merges = False

    def _merge_ref(self, change: str) -> str:
        return f"refs/claudetm/{self._repository.run}/{change}/merge"

    async def _refs(self, *more: str) -> Refs:
        """Return the refs that matter, in one look."""
        branches = {f"refs/heads/{p.branch}" for p in self._journal.pulls.values()}
        return await self._repository.refs(self._base, self._target, self._merge_ref("*"), *branches, *more)

    async def _contains(self, descendant: str, ancestor: str) -> bool:
        """Whether the ancestor is reachable from the descendant; what was answered once stays true."""
        pair = (descendant, ancestor)
        if pair not in self._contained:
            self._contained[pair] = await self._repository.contains(*pair)
        return self._contained[pair]

    async def _clash(self, base: str, head: str) -> bool:
        """Whether the two conflict."""
        pair = (base, head)
        if pair not in self._clashes:
            self._clashes[pair] = isinstance(await self._repository.merge(base, head, "Try"), Conflicted)
        return self._clashes[pair]

    # the base

    async def base(self) -> str:
        """Return the tip of claudetm/<run>/base, made when absent, the user's target taken in when it moved."""
        return self._tip(await self._current())

    async def _current(self) -> Refs:
        """Return the refs, with the base brought up to date first; one look when it is."""
        for _ in range(_TRIES):
            refs = await self._refs()
            tip = self._tip(refs)
            if tip and not self._told_merges:
                await self._tell_merges(refs, tip)
            if self._checked_out(refs):
                return refs
            wanted = await self._with_target(refs, tip) if tip else await self._restored(refs)
            if wanted == tip:
                return refs
            await self._swap_base(wanted, tip)
        raise ForgeError(f"{self._branch} keeps being moved by somebody else.")

    async def _tell_merges(self, refs: Refs, tip: str) -> None:
        """Record the merges that the base has: a driver died before it could, or was of an older version."""
        self._journal.refresh()
        for pull in list(self._journal.pulls.values()):
            ref = refs.get(self._merge_ref(pull.change))
            if ref and ref.commit not in pull.merges and await self._contains(tip, ref.commit):
                self._journal.merged(pull.number, ref.commit)
        self._told_merges = True

    def _tip(self, refs: Refs) -> str:
        return refs[self._base].commit if self._base in refs else ""

    def _checked_out(self, refs: Refs) -> str:
        return refs[self._base].worktree if self._base in refs else ""

    async def _swap_base(self, commit: str, old: str) -> bool:
        return await self._repository.publish(self._base, commit, old)

    async def _restored(self, refs: Refs) -> str:
        """Return what an absent base begins at: the run's base, with every merge of ours that is recorded.

        A merge that was written down for the base, and that the base never came to, is none.
        """
        self._journal.refresh()
        tip = self._repository.base
        happened = {commit for pull in self._journal.pulls.values() for commit in pull.merges}
        for commit in [r.commit for name, r in refs.items() if name.endswith("/merge") and r.commit in happened]:
            if await self._contains(commit, tip):
                tip = commit
        return tip

    async def _with_target(self, refs: Refs, tip: str) -> str:
        """Return the base with the user's target in it. A target that conflicts is left for the landing to name."""
        if self._target not in refs or await self._contains(tip, refs[self._target].commit):
            return tip
        target = refs[self._target].commit
        if await self._clash(tip, target):
            return tip
        name = self._target.removeprefix("refs/heads/")
        merged = await self._repository.merge(tip, target, f"Merge {name} into {self._branch}\n")
        return tip if isinstance(merged, Conflicted) else merged.commit

    # reading

    async def read(self, numbers: Sequence[int]) -> Mapping[int, PullRequest]:
        """Return pull requests as they are now; checks that are due are started.

        The user's target is looked at, too: a branch that a person merges into their own is merged.
        """
        self._journal.refresh()
        pulls = [self._journal.pull(n) for n in numbers]
        refs = await self._current()
        return {p.number: await self._read(p, refs) for p in pulls}

    async def find(self, branch: str) -> PullRequest | None:
        """Return the newest pull request of a branch, open or not."""
        self._journal.refresh()
        found = self._journal.newest(branch)
        return (await self.read([found.number]))[found.number] if found else None

    async def _read(self, pull: PullRecord, refs: Refs) -> PullRequest:
        base, ref = self._tip(refs), refs.get(f"refs/heads/{pull.branch}")
        ours = await self._repository.last_push(pull.branch) or pull.head
        head = ref.commit if ref else ours
        if ended := await self._ended(pull, refs, head, gone=ref is None):
            await self._checks.end(pull.number)
            return self._told(pull, head, base, ended)
        conflicting = await self._clash(base, head)
        if conflicting:
            await self._checks.end(pull.number)
        tested, checks = (base, ()) if conflicting else await self._checks.read(pull, head, base)
        return PullRequest(
            pull.number,
            pull.branch,
            head,
            base,
            tested,
            pull.branch,  # what a person names to git, where others have an address
            conflicting=conflicting,
            behind=tested != base,
            forward=await self._contains(head, ours),
            checks=checks,
            bounded=True,
            threads=tuple(pull.threads.values()),
            approvals=pull.approvals,
            objections=pull.objections,
        )

    def _told(self, pull: PullRecord, head: str, base: str, ended: _Ended) -> PullRequest:
        return PullRequest(
            pull.number,
            pull.branch,
            head,
            base,
            url=pull.branch,
            state=ended.state,
            merge_commit=ended.commit,
            by=ended.by,
            threads=tuple(pull.threads.values()),
        )

    async def _ended(self, pull: PullRecord, refs: Refs, head: str, *, gone: bool) -> _Ended | None:
        """Return how it ended, or None while it is open."""
        base, merge = self._tip(refs), refs.get(self._merge_ref(pull.change))
        if merge and await self._contains(base, merge.commit):
            if merge.commit not in pull.merges:
                self._journal.merged(pull.number, merge.commit)
            return _Ended(PullRequestState.MERGED, US, merge.commit)
        if await self._merged_by_person(pull, base, head):
            return _Ended(PullRequestState.MERGED, PERSON, await self._repository.entered(base, head))
        if pull.closed_by or gone:
            return _Ended(PullRequestState.CLOSED, pull.closed_by or PERSON)
        return None

    async def _merged_by_person(self, pull: PullRecord, base: str, head: str) -> bool:
        """Whether the head is in the base by somebody's merge: it has, still, commits of its own that are in it."""
        return (
            await self._contains(base, head)
            and await self._contains(head, pull.head)
            and not await self._contains(pull.base, pull.head)
        )

    # writing

    async def open(self, new: NewPullRequest) -> PullRequest:
        """Open a pull request for a pushed branch, or return the open one that is there."""
        found = await self.find(new.branch)
        if found and found.state is PullRequestState.OPEN:
            return found
        if not await self._repository.branch_tip(new.branch):
            raise ForgeError(f"The branch {new.branch} is not there to open a pull request for.")
        base = await self.base()
        self._faults("open:before")
        pull = self._journal.open(new, base, found.number if found else 0)
        self._faults("open:after")
        return (await self.read([pull.number]))[pull.number]

    async def note(self, number: int, note: Note) -> str:
        """Write a remark, or find it by its marker; return its thread's id."""
        self._journal.refresh()
        return self._journal.note(number, note)

    async def rerun_checks(self, number: int, head: str) -> bool:
        """Run the checks of `head` once more; False when the branch is elsewhere by now."""
        self._journal.refresh()
        pull = self._journal.pull(number)
        if await self._repository.branch_tip(pull.branch) != head:
            return False
        await self._checks.end(number)
        self._journal.rerun(number, head)
        return True

    async def check_log(self, number: int, check: str) -> CheckLog:
        """Return the log that a check of the newest tested head left."""
        self._journal.refresh()
        results = [r for rows in self._journal.pull(number).results.values() for r in rows if r.name == check]
        return log_of(results[-1]) if results else CheckLog()

    async def failing_at(self, commit: str, checks: Sequence[str]) -> Mapping[str, CheckLog] | None:
        """Return those of the checks that fail at a commit by itself, with their logs; None: not known yet."""
        self._journal.refresh()
        results = await self._checks.at(commit, checks)
        return None if results is None else {n: log_of(r) for n, r in results.items() if not r.ok}

    async def merge(self, number: int, head: str, base: str, method: str) -> MergeOutcome:
        """Merge exactly `head`, tested with `base`, by a merge commit or ("squash") a single one."""
        if method not in ("merge", "squash"):
            return MergeRefused(f"the local forge merges by merge or squash, not by {method}")
        tip = await self.base()
        self._journal.refresh()
        pull, refs = self._journal.pull(number), await self._refs()
        ref = refs.get(f"refs/heads/{pull.branch}")
        at = ref.commit if ref else pull.head
        if ended := await self._ended(pull, refs, at, gone=ref is None):
            return MergeDone(ended.commit) if ended.state is PullRequestState.MERGED else Opposed()
        if at != head:
            return HeadChanged(at)
        if tip != (base or tip) or tip != self._tip(refs):
            return BaseChanged(self._tip(refs))
        if pull.opposed:
            return Opposed()
        if where := self._checked_out(refs):
            return MergeRefused(f"{self._branch} is checked out in {where}: switch to another branch there")
        return await self._merge(pull, head, tip, method, refs)

    async def _merge(self, pull: PullRecord, head: str, base: str, method: str, refs: Refs) -> MergeOutcome:
        """Build M, write it down, swap the base: in this order, so that a resume finds what was done."""
        squash = method == "squash"
        message = f"{pull.title}\n\n{pull.body}\n" if squash else f"Merge {pull.change}: {pull.title}\n"
        built = await self._repository.build_merge(base, head, message, (base,) if squash else (base, head))
        if isinstance(built, Conflicted):
            return MergeConflict()
        self._faults("merge:built")
        name = self._merge_ref(pull.change)
        written = refs[name].commit if name in refs else ""
        commit = built.commit
        if written and await self._repository.parents(written) == await self._repository.parents(commit):
            commit = written
        elif not await self._repository.publish(name, commit, written):
            raise ForgeError(f"{name} was moved by somebody else.")
        self._faults("merge:written")
        match await asyncio.to_thread(self._take, pull, head, commit, base):
            case None:
                return Opposed()
            case False:
                return BaseChanged(self._tip(await self._refs()))
            case True:
                self._faults("merge:swapped")
                self._journal.merged(pull.number, commit)
                return MergeDone(commit)

    def _take(self, pull: PullRecord, head: str, commit: str, base: str) -> bool | None:
        """Swap the base while nobody can object; False when it has moved, None when a person has come between.

        Who deletes the branch, or pushes to it, has come between as well.
        """
        user, branch = self._repository.user, f"refs/heads/{pull.branch}"
        with self._journal.unopposed(pull.number) as free:
            at = user.find(branch) if free else None
            return user.swap(self._base, commit, base) if at and at.commit == head else None

    async def closes(self, number: int, issue: int) -> None:
        """Nothing: there are no issues here."""

    async def close_issue(self, issue: int) -> str:  # noqa: ARG002 - the port's
        """Nothing: there are no issues here."""
        return ""

    def pace(self, quiet: float) -> float:  # noqa: ARG002 - the port's
        """Look as often as usual: it costs nothing."""
        return 1.0

    async def hint(self) -> None:
        """Return when a check has reported, or somebody wrote into the records: once, also if nobody reads them."""
        while (size := self._journal.size()) in (self._journal.seen, self._hinted):
            try:
                await asyncio.wait_for(self._woken.wait(), HINT_SECONDS)
            except TimeoutError:
                continue
            break
        self._hinted = size
        self._woken.clear()

    async def close(self) -> None:
        """Stop the checks that run."""
        await self._checks.close()
