"""What pr, comments, review and explain share: a look at the run's pull requests, and how one is told.

Nothing is written here, and nothing heavy is loaded for a run whose forge is this machine. What comes from outside
is told without what a terminal acts on.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from claudetm.cli.chosen import aimed
from claudetm.errors import ClaudetmError, UsageError
from claudetm.redact import printable, redact
from claudetm.workflow.limits import Wait
from claudetm.workflow.pull_request import CheckState, PullRequestState, Thread
from claudetm.workflow.stages import Halt, Stage

if TYPE_CHECKING:
    from claudetm.adapters.forge.github.look import Asked
    from claudetm.adapters.forge.github.place import Hosted
    from claudetm.adapters.forge.local_look import LocalLook
    from claudetm.adapters.forge.looking import Look, Seen
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.workflow.events import Event
    from claudetm.workflow.observe import Act
    from claudetm.workflow.run import ChangeState, Run

_WIDEST: Final = 80
_NARROWEST: Final = 40
_PATIENCE: Final = 8.0  # seconds for GitHub to answer a person who looks


@dataclass(frozen=True, slots=True)
class Looked:
    """A run with its pull requests. `driver` is the process that drives it, or 0; `present`, what that waits for."""

    state: StateDirectory
    run: Run
    look: Look
    pulls: Sequence[Seen]
    driver: int = 0
    present: Wait | None = None

    def find(self, number: int) -> Seen:
        """Return one pull request. Raises UsageError for a number that there is not."""
        for seen in self.pulls:
            if seen.pull.number == number:
                return seen
        there = ", ".join(f"#{s.pull.number}" for s in self.pulls) or "none yet"
        raise UsageError(f"There is no pull request #{number} in this run; there are: {there}")

    def change(self, seen: Seen) -> ChangeState | None:
        """Return the change that a pull request is of, or None: it was given up for another one."""
        change = self.run.changes.get(seen.change)
        return change if change is not None and change.number == seen.pull.number else None

    def thread(self, seen: Seen, name: str) -> Thread:
        """Return one conversation. Raises UsageError for one that there is not."""
        for thread in seen.pull.threads:
            if thread.id == name:
                return thread
        there = ", ".join(t.id for t in seen.pull.threads) or "none"
        raise UsageError(f"There is no conversation {name} on #{seen.pull.number}; there are: {there}")


@dataclass(frozen=True, slots=True)
class LookedHere(Looked):
    """A run whose pull requests are kept, and reviewed, on this machine."""

    look: LocalLook


def look(number: int | None = None, *, remarks: bool = False, silent: bool = False) -> Looked:
    """Return the run around the working directory with its pull requests. Raises ClaudetmError.

    Where they cannot be asked for, what the journal knows of them (of the one, or with `remarks` of what was said)
    is printed before that is raised, unless `silent`.
    """
    from claudetm.cli.state import find, load

    state = find()
    run = load(state)
    found, driver = look_of(state, run), driver_of(state)
    present = present_of(state, driver)
    try:
        pulls = found.pulls()
    except ClaudetmError:
        if run.forge != "local" and not silent:
            from claudetm.cli.unasked import tell_known

            tell_known(state, run, present, number, remarks=remarks)
        raise
    return Looked(state, run, found, pulls, driver, present)


def look_here(number: int = 0) -> LookedHere:
    """Return the same of a run that is reviewed here. Raises UsageError, with the address, for another's."""
    from claudetm.cli.state import find, load

    state = find()
    run = load(state)
    if run.forge != "local":
        urls = {c.number: c.url for c in run.changes.values() if c.url}
        if not (where := urls.get(number, "") or ", ".join(urls.values())):
            raise UsageError(
                "The reviews of this run are held on GitHub, and no pull request was opened yet: `claudetm explain` "
                "tells what it waits for"
            )
        raise UsageError(f"The reviews of this run are held on GitHub, and not here: go to {where}")
    found, driver = _local(state, run), driver_of(state)
    return LookedHere(state, run, found, found.pulls(), driver, present_of(state, driver))


def driver_of(state: StateDirectory) -> int:
    """Return the process that drives the run, or 0."""
    from claudetm.adapters.store.lock import holder

    driver = holder(state.lock)
    return driver.pid if driver else 0


def present_of(state: StateDirectory, driver: int) -> Wait | None:
    """Return what that driver waits for at this moment, as it says itself, or None."""
    from claudetm.adapters.store.directory import present_wait

    return present_wait(state, driver, time.time())


def look_of(state: StateDirectory, run: Run) -> Look:
    """Return a look at the forge of a run. Raises ClaudetmError where it could not be asked."""
    if run.forge == "local":
        return _local(state, run)
    from claudetm.adapters.forge.github.look import GithubLook
    from claudetm.adapters.forge.github.place import hosted_from_data

    place = hosted_from_data(run.hosted)
    return GithubLook(run, place, lambda: _asked(state, run, place))


def _asked(state: StateDirectory, run: Run, place: Hosted) -> Asked:
    """Return who asks GitHub about a run. Raises UsageError without a token."""
    from claudetm.adapters.forge.github.access import find
    from claudetm.adapters.forge.github.look import Asked
    from claudetm.adapters.forge.github.place import git_host
    from claudetm.bootstrap.github import client_of, ways_in

    server = git_host(place.api)
    if (token := find(server, os.environ)) is None:
        login, variable = ways_in(server)
        raise UsageError(
            f"There is no token for {server}: {login}, or set {variable}; `claudetm status` shows what is known here"
        )
    from claudetm.adapters.forge.github.logs import CheckLogs
    from claudetm.adapters.forge.github.once import Once
    from claudetm.adapters.forge.github.reading import Reading

    client = client_of(place, token, _PATIENCE)
    email = run.author.rpartition("<")[2].rstrip(">")
    reading = Reading(client, place, run.target, lambda: run.policy.trusted, email)
    return Asked(reading, CheckLogs(client, place, state.logs / "checks"), client, Once())


def _local(state: StateDirectory, run: Run) -> LocalLook:
    from claudetm.adapters.forge.local_look import LocalLook

    return LocalLook(state.repository, state.root, run)


# --- what a pull request waits for ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Awaits:
    """What a pull request waits for. `next` is what a person can do about it, or "" where nobody has to."""

    why: str
    next: str = ""
    until: float | None = None


def awaits(looked: Looked, seen: Seen) -> Awaits | None:
    """Return what a pull request waits for, or None where it is over."""
    from claudetm.workflow.events import ChangeBlocked
    from claudetm.workflow.observe import observe  # which loads every event there is

    change, pull = looked.change(seen), seen.pull
    if change is None or change.settled or looked.run.finished or pull.state is PullRequestState.MERGED:
        return None
    halt = looked.run.halt
    if change.hold is not None:
        return Awaits(change.hold.reason, change.hold.next)
    if pull.state is PullRequestState.CLOSED:
        accept = (
            "`claudetm resume` accepts that" if halt and halt.kind is Halt.BLOCKED else "the run blocks upon that"
        )
        reopen = f"reopen it at {pull.url}" if "://" in pull.url else f"claudetm review reopen {pull.number}"
        return Awaits(f"{pull.by or 'a person'} closed it; {accept}", reopen)
    match observe(change, pull, looked.run.policy, time.time()):
        case Wait() as wait if change.stage in {Stage.WAITING_REVIEWS, Stage.READY_TO_MERGE}:
            return Awaits(wait.why, "" if wait.next == "claudetm resume" and not wait.person else wait.next)
        case Wait() as wait:
            return Awaits(wait.why, "" if looked.driver else "claudetm resume", wait.until)
        case ChangeBlocked(reason=reason, next=following):
            return Awaits(reason, following)
        case due if looked.driver:
            held = looked.present
            waits = f"; it waits: {held.why}" if held else ""
            return Awaits(
                f"the driver, which {_task(change, due)} at its next look{waits}", until=held.until if held else None
            )
        case due:
            why = halt.reason if halt else f"a driver, which {_task(change, due)}"
            return Awaits(why, halt.next if halt else "claudetm resume")


def _task(change: ChangeState, due: Event | Act) -> str:
    """Return what a driver does next about a pull request, as a clause without its subject."""
    match (change.stage, type(due).__name__):
        case (_, "ChecksFailed") | (Stage.CI_FAILED, "Act"):
            return f"has {', '.join(getattr(due, 'failed', change.failed)) or 'its checks'} fixed"
        case (_, "ReviewsReceived") | (Stage.ADDRESSING_REVIEWS, "Act"):
            return "answers what was said about it"
        case (_, "ConflictFound" | "BaseMoved") | (Stage.UPDATING_BRANCH, "Act"):
            return "merges the base into it"
        case (_, "HeadMoved"):
            return "takes what was pushed to it"
        case (Stage.REVIEWING, "Act"):
            return "has it read"
        case (Stage.READY_TO_MERGE, "Act"):
            return "merges it"
        case _:
            return "goes on with it"


def owed(awaited: Awaits | None) -> bool:
    """Whether it is a person that is waited for."""
    return awaited is not None and bool(awaited.next)


# --- in words ---------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Return a text as it may be shown."""
    return redact(printable(text))


def one_line(text: str) -> str:
    """Return a text as it may be shown, on one line."""
    return " ".join(clean(text).split())


def tell(text: str, indent: int = 0, hang: int = 0) -> None:
    """Print a text in at most 80 columns, its own lines kept; all but the first are set in by `hang` more."""
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    for n, line in enumerate(clean(aimed(text)).split("\n")):
        first = " " * (indent if n == 0 else indent + hang)
        rest = " " * (indent + hang)
        wrapped = textwrap.wrap(line, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
        print("\n".join(wrapped))


def print_json(data: object) -> None:
    """Print JSON without secrets."""
    print(redact(json.dumps(data, indent=2)))


def heading(seen: Seen) -> str:
    """Return its number, its change and its title; one that was adopted may have no change yet."""
    return one_line(f"#{seen.pull.number}{f' {seen.change}' if seen.change else ''}: {seen.title}")


def checks_line(seen: Seen) -> str:
    """Return how the checks stand, in a few words."""
    states = Counter(c.state for c in seen.pull.checks)
    if not states:
        return "none"
    failed = [c.name for c in seen.pull.checks if c.state is CheckState.FAILED]
    if failed:
        return f"failed: {', '.join(failed)}"
    running = states[CheckState.PENDING]
    return f"{states[CheckState.PASSED]} of {len(seen.pull.checks)} passed" + (", the rest due" if running else "")


def reviews_line(looked: Looked, seen: Seen) -> str:
    """Return how people stand to it, in a few words."""
    pull, required = seen.pull, looked.run.policy.reviews_required
    parts = [f"{', '.join(pull.objections)} asked for changes"] if pull.objections else []
    if seen.approved:
        parts.append(f"approved by {', '.join(seen.approved)}")
    if required:
        parts.append(f"{pull.approvals} of {required} approvals")
    left = [t for t in pull.threads if t.stands]
    if left:
        waiting = sum(t.unanswered for t in left)
        parts.append(f"{len(left)} unresolved" + (f", {waiting} to answer" if waiting else ""))
    if pull.withheld:
        parts.append(pull.withheld)
    return "; ".join(parts) or "nothing is in the way"


def merge_line(seen: Seen) -> str:
    """Return what the forge itself does about its merge, or "" where there is nothing to say."""
    pull = seen.pull
    parts = ["conflicts with what it merges into"] if pull.conflicting else []
    if pull.behind:
        parts.append("what it merges into has moved since it was tested")
    if pull.queued:
        parts.append("in the merge queue")
    elif seen.queue:
        parts.append("through the merge queue")
    if seen.auto_merge:
        parts.append(f"by itself once it may be, as {seen.auto_merge} asked")
    return "; ".join(parts)


def unheard_line(looked: Looked, seen: Seen) -> str:
    """Return who has spoken and is not listened to, with the setting that would change that, or ""."""
    if not (names := seen.pull.unheard):
        return ""
    listed = " ".join(map(shlex.quote, dict.fromkeys((*looked.run.policy.trusted, *names))))
    return f"{', '.join(names)}; `claudetm config set reviews.trusted {listed}` has them heard"


def standing(looked: Looked, seen: Seen) -> str:
    """Return whether it is open, and the stage of its change."""
    change, pull = looked.change(seen), seen.pull
    by = f" by {pull.by}" if pull.by else ""
    over = f"; the run is {looked.run.phase}" if looked.run.finished else ""
    match pull.state:
        case PullRequestState.MERGED:
            return f"merged as {pull.merge_commit[:10]}{by}"
        case PullRequestState.CLOSED:
            return f"closed{by}{over}"
        case PullRequestState.OPEN:
            held = " (held)" if change and change.hold else ""
            stage = str(change.stage) if change else "given up" if seen.change else "not begun"
            return f"open{' as a draft' if seen.draft else ''}, {stage}{held}{over}"


def tell_awaited(awaited: Awaits | None, indent: int = 0) -> None:
    """Print what is waited for, and what a person can do."""
    if awaited is None:
        return
    until = f" (until {time.strftime('%H:%M:%S', time.localtime(awaited.until))})" if awaited.until else ""
    tell(f"waits for: {awaited.why}{until}", indent, 2)
    if awaited.next:
        tell(f"next: {awaited.next}", indent, 2)


def tell_address(url: str, indent: int = 0) -> None:
    """Print an address in one piece, however long it is."""
    print(" " * indent + one_line(url))


def tell_thread(thread: Thread, indent: int = 0, *, heard: bool = True, url: str = "") -> None:
    """Print a conversation: where it is, how it stands, every word of both sides."""
    where = f" {thread.where}" if thread.where else ""
    tell(f"{thread.id}{where}: {thread_state(thread) if heard else 'not listened to'}", indent)
    if url:
        tell_address(url, indent + 2)
    for said in thread.comments:
        tell(f"{one_line(said.author)}: {said.body}", indent + 2, 2)


def thread_state(thread: Thread) -> str:
    """Return how a conversation stands, in a few words."""
    commit = f" in {thread.fixed_in[:10]}" if thread.fixed_in else ""
    if thread.resolved:
        return f"resolved{commit}"
    if not thread.blocking:
        return "a remark that asks for nothing"
    return "not answered" if thread.unanswered else f"answered{commit}, not resolved"


# --- as data ----------------------------------------------------------------------------------------------------


def pull_data(looked: Looked, seen: Seen) -> dict[str, Any]:
    """Return a pull request as JSON values, without its conversations."""
    change, pull, awaited = looked.change(seen), seen.pull, awaits(looked, seen)
    return {
        "number": pull.number,
        "change": seen.change,
        "title": seen.title,
        "body": seen.body,
        "branch": pull.branch,
        "head": pull.head,
        "base": pull.base,
        "url": pull.url,
        "state": str(pull.state),
        "stage": str(change.stage) if change else None,
        "merge_commit": pull.merge_commit,
        "by": pull.by,
        "checks": [
            {
                "name": c.name,
                "state": str(c.state),
                "required": c.required,
                "summary": c.summary,
                "log": seen.logs.get(c.name, ""),
                "url": seen.links.get(c.name, ""),
            }
            for c in pull.checks
        ],
        "approvals": list(seen.approved),
        "approvals_required": looked.run.policy.reviews_required,
        "objections": list(pull.objections),
        "withheld": pull.withheld,
        "not_listened_to": list(pull.unheard),
        "draft": seen.draft,
        "conflicting": pull.conflicting,
        "merge_queue": seen.queue,
        "queued": pull.queued,
        "auto_merge": seen.auto_merge,
        "waits_for": {"why": awaited.why, "next": awaited.next, "until": awaited.until} if awaited else None,
    }


def thread_data(thread: Thread, number: int, *, heard: bool = True, url: str = "") -> dict[str, Any]:
    """Return a conversation as JSON values."""
    return {
        "id": thread.id,
        "pull_request": number,
        "path": thread.path,
        "line": thread.line or None,
        "url": url,
        "resolved": thread.resolved,
        "answered": not thread.unanswered,
        "blocking": thread.blocking,
        "listened_to": heard,
        "commit": thread.fixed_in,
        "comments": [{"author": c.author, "body": c.body, "ours": c.ours} for c in thread.comments],
    }


def threads(pulls: Iterable[Seen], *, every: bool) -> Iterator[tuple[Seen, Thread]]:
    """Yield the conversations that are open, or all of them, those included that nobody listens to."""
    for seen in pulls:
        for thread in seen.pull.threads:
            if every or (thread.stands and seen.pull.state is PullRequestState.OPEN):
                yield seen, thread
        for thread in seen.ignored if every else ():
            yield seen, thread
