"""`claudetm explain`: why the run, a change or a task is where it is, with the evidence and the one next command."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from claudetm.cli.pulls import Awaits, Looked
    from claudetm.plan.model import Task
    from claudetm.workflow.limits import Wait
    from claudetm.workflow.records import Record
    from claudetm.workflow.run import ChangeState, Run

RESUME: Final = "claudetm resume"
_LAST: Final = 12  # events told
_LONGEST: Final = 400  # characters of one of them


@dataclass(frozen=True, slots=True)
class Subject:
    """What is explained: the run, or with a change that, or with a task too that."""

    change: ChangeState | None = None
    task: Task | None = None

    def concerns(self, record: Record) -> bool:
        """Whether an event is about it."""
        data = record.data
        if self.task is not None:
            return self.task.id in {data.get("task"), data.get("subject")}
        return self.change is None or data.get("change") == self.change.id

    def counts(self, tallied: str) -> bool:
        """Whether attempts at a subject count against it."""
        if self.task is not None:
            return tallied == self.task.id
        if self.change is None:
            return True
        own = {self.change.id, *(t.id for t in self.change.plan.tasks)}
        return tallied in own or tallied.startswith(f"{self.change.id}:")


@dataclass(frozen=True, slots=True)
class Driving:
    """The process that drives the run (0: none), and what it waits for, as it says itself."""

    pid: int
    present: Wait | None = None

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self.pid != 0

    @property
    def turn(self) -> Awaits:
        """What is awaited of it by what it could work on."""
        from claudetm.cli.pulls import Awaits

        if not self:
            return Awaits("a driver", RESUME)
        if self.present is None:
            return Awaits("its turn; the driver is at work")
        return Awaits(f"the driver, which waits: {self.present.why}", until=self.present.until)


@dataclass(slots=True)
class Explanation:
    """Why something is where it is. Times in epoch seconds, costs in US dollars; a limit of None is none."""

    name: str
    title: str
    standing: str
    since: float
    sessions: int = 0
    cost_usd: float = 0.0
    most_sessions: int | None = None
    most_cost: float | None = None
    last: list[tuple[float, str, str]] = field(default_factory=list)  # time, change, what happened
    used: list[tuple[str, int, int]] = field(default_factory=list)  # what, used, limit
    waits: list[Awaits] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    work: list[str] = field(default_factory=list)  # where what is not pushed yet is seen
    next: str = ""


def command(
    what: str = typer.Argument("", help="A change (c1), a task (c1.t1) or a pull request (1); without it, the run."),
    as_json: bool = typer.Option(False, "--json", help="Print it as JSON."),
) -> None:
    """Tell why the run, or a change, is where it is, and what to do next."""
    from claudetm.adapters.store.journal import FileJournal
    from claudetm.cli.pulls import Looked, driver_of, look_of, present_of
    from claudetm.cli.state import find, load
    from claudetm.cli.waits import unpushed
    from claudetm.errors import ClaudetmError

    state = find()
    run = load(state)
    subject = _subject(run, what)
    driver, looked, unasked = driver_of(state), None, ""
    present = present_of(state, driver)
    try:
        found = look_of(state, run)
        looked = Looked(state, run, found, found.pulls(), driver, present)
    except ClaudetmError as error:
        if run.forge == "local":
            raise
        unasked = f"from the journal alone: {error}"
    told = _explained(run, subject, looked, Driving(driver, present))
    told.evidence += [unasked] if unasked else []
    told.work = [work for c in _subjects(run, subject) if (work := unpushed(state, run, c))]
    for record in FileJournal(state.journal).read():
        if subject.concerns(record):
            _take(told, run, record)
    told.last = told.last[-_LAST:]
    told.evidence = list(dict.fromkeys(told.evidence))
    _print_json(told) if as_json else _print(told)


def _subjects(run: Run, subject: Subject) -> list[ChangeState]:
    return [subject.change] if subject.change else list(run.active.values())


def _subject(run: Run, what: str) -> Subject:
    """Return what is meant. Raises UsageError for what there is not, or is more than once."""
    from claudetm.errors import UsageError

    if not what:
        return Subject()
    if what in run.changes:
        return Subject(run.changes[what])
    found = [Subject(c) for c in run.changes.values() if c.number and str(c.number) == what.removeprefix("#")]
    tasks = [Subject(c, t) for c in run.changes.values() for t in c.plan.tasks]
    found = found or [s for s in tasks if s.task and s.task.id == what]
    found = found or [s for s in tasks if s.task and s.task.id.endswith(f".{what}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{what} is more than one task: name {' or '.join(s.task.id for s in found if s.task)}")
    raise UsageError(f"There is no {what} in this run; there are: {', '.join(run.changes) or 'no changes yet'}")


def _explained(run: Run, subject: Subject, looked: Looked | None, driver: Driving) -> Explanation:
    change, task = subject.change, subject.task
    if change is None:
        told = _of_run(run, looked, driver)
    elif task is None:
        told = _of_change(run, change, looked, driver)
    else:
        state = change.tasks.get(task.id)
        stands = "waiting" if state is None else "started"
        if state is not None and state.done:
            stands = "true already" if state.skipped else f"done at {state.commit[:10]}"
        told = Explanation(
            task.id, task.title, f"{stands}; its change {change.id} stands at {change.stage}", change.since
        )
        told.waits = [] if state and state.done else _awaited(run, change, looked, driver)
        told.next = _next(run, told.waits, driver)
    if driver.present and told.waits and not any(driver.present.why in a.why for a in told.waits):
        told.waits.append(driver.turn)
    for tallied, tally in run.tallies.items():
        if subject.counts(tallied):
            told.used.append((f"attempts at {tallied}", tally.attempts, run.policy.attempts))
            if tally.last_detail and not (change and change.settled):
                told.evidence.append(f"the last session for {tallied}: {tally.last_detail}")
    return told


# --- the run ----------------------------------------------------------------------------------------------------


def _of_run(run: Run, looked: Looked | None, driver: Driving) -> Explanation:
    from claudetm.cli.pulls import Awaits
    from claudetm.workflow.stages import Mode

    told = Explanation(run.id, run.goal, _standing(run, driver), run.since)
    policy = run.policy
    told.most_sessions, told.most_cost = policy.sessions, policy.cost_usd
    if run.mode is Mode.GOAL:
        told.used = [("verification rounds", run.verify_rounds, policy.verify_rounds)]
    if run.halt is not None:
        told.waits = [Awaits(run.halt.reason, run.halt.next)]
    elif not run.finished:
        told.waits = _running(run, "") if driver else []
        for change in [*run.active.values(), *(c for c in run.held if c.id not in run.active)]:
            told.waits += [replace(a, why=f"{change.id}: {a.why}") for a in _awaited(run, change, looked, driver)]
        if not told.waits:
            told.waits = [driver.turn]
    for change in run.active.values():
        told.evidence += _evidence(change, looked, told.waits)
    told.evidence += _failing(run)
    told.next = _next(run, told.waits, driver)
    return told


def _standing(run: Run, driver: Driving) -> str:
    from claudetm.cli.status import standing

    return standing(run, driver.pid)


def _failing(run: Run) -> Iterator[str]:
    """Yield what is not met, with where that shows."""
    for criterion in run.plan.criteria:
        receipt = run.receipts.get(criterion.id)
        if receipt and receipt.verdict != "holds":
            shown = receipt.log or "; ".join(receipt.evidence) or receipt.missing
            yield f"criterion {criterion.id} {receipt.verdict} at {receipt.commit[:10]}: {criterion.text} ({shown})"


# --- a change ---------------------------------------------------------------------------------------------------


def _of_change(run: Run, change: ChangeState, looked: Looked | None, driver: Driving) -> Explanation:
    from claudetm.workflow.stages import Mode

    stage = f"{change.stage}, held" if change.hold else str(change.stage)
    where = f"; pull request #{change.number}, {change.branch} at {change.head[:10]}" if change.number else ""
    merged = f" as {change.merge_commit[:10]} by {change.merged_by}" if change.merge_commit else ""
    told = Explanation(change.id, change.plan.title, f"{stage}{merged}{where}", change.since)
    policy = run.policy
    if run.mode is Mode.GOAL:
        told.used = [
            ("fix rounds since it was green", change.fix_rounds, policy.fix_rounds),
            ("review rounds", change.review_rounds, policy.review_rounds),
            ("readings by the reviewer", change.self_reviews, policy.review_rounds),
            ("updates from the base", change.updates, policy.updates),
        ]
    else:
        told.used = [("audits that failed", change.audits, policy.audit_rounds)]
    told.waits = _awaited(run, change, looked, driver)
    told.evidence = _evidence(change, looked, told.waits)
    told.next = _next(run, told.waits, driver)
    return told


def _awaited(run: Run, change: ChangeState, looked: Looked | None, driver: Driving) -> list[Awaits]:
    """Return what a change waits for: a session, other changes, people, the driver."""
    from claudetm.cli.pulls import Awaits, awaits
    from claudetm.workflow.stages import Stage

    if change.settled or run.finished:
        return []
    if change.hold is not None:
        return [Awaits(change.hold.reason, change.hold.next)]
    if driver and (running := _running(run, change.id)):
        return running
    if change.stage is Stage.QUEUED:
        missing = [d for d in change.plan.depends_on if not run.changes[d].settled]
        if missing:
            return [Awaits(f"{', '.join(missing)}, upon which it depends")]
    for seen in looked.pulls if looked else ():
        if looked and seen.pull.number == change.number and (found := awaits(looked, seen)):
            return [found]
    if run.halt is not None:
        return [Awaits(run.halt.reason, run.halt.next)]
    if run.usage_resets_at > time.time():
        return [Awaits("the usage limit's reset", until=run.usage_resets_at)]
    return [driver.turn]


def _running(run: Run, change: str) -> list[Awaits]:
    """Return the sessions that run for a change, or for the run as a whole."""
    from claudetm.cli.pulls import Awaits

    clock = "%H:%M:%S"
    return [
        Awaits(f"the {s.role} session for {s.subject}, since {time.strftime(clock, time.localtime(s.started))}")
        for s in run.open_sessions.values()
        if s.change == change
    ]


def _evidence(change: ChangeState, looked: Looked | None, waits: Sequence[Awaits]) -> list[str]:
    """Return what shows why it stands there: red checks with their logs, conversations with both sides."""
    from claudetm.workflow.pull_request import CheckState, both_sides

    found: list[str] = []
    for seen in looked.pulls if looked else ():
        if seen.pull.number != change.number or change.settled:
            continue
        red = [c for c in seen.pull.checks if c.state is CheckState.FAILED]
        where = {**seen.links, **{name: log for name, log in seen.logs.items() if log}}
        found += [f"check {c.name}: {c.summary or 'failed'} ({where.get(c.name) or 'no log'})" for c in red]
        told = change.hold.reason if change.hold else " ".join(a.why for a in waits)
        sides = [both_sides(t) for t in seen.pull.threads if t.stands]
        found += [f"conversation {s}" for s in sides if s not in told]
    return found


def _next(run: Run, waits: list[Awaits], driver: Driving) -> str:
    """Return the one command that helps now, or "" where nothing has to be done."""
    if run.finished:
        return run.landing_next
    if not waits:
        return ""
    if commands := [a.next for a in waits if a.next]:
        return commands[0]
    return "" if driver else RESUME


# --- what happened ----------------------------------------------------------------------------------------------


def _take(told: Explanation, run: Run, record: Record) -> None:
    """Take one event about it into account."""
    from claudetm.cli.words import told as in_words

    data = record.data
    if record.type == "SessionEnded":
        told.sessions += 1
        told.cost_usd = round(told.cost_usd + data["usage"]["cost_usd"], 4)
        if data["outcome"] != "answered" and data.get("transcript"):
            told.evidence.append(f"{data['outcome']}: {data['transcript']}")
    if record.type != "SessionStarted" and (text := in_words(run, record.type, data)):
        text = text.replace("session ended", f"session for {data.get('subject')} ended", 1)
        told.last.append((record.time, str(data.get("change") or ""), text))


def _print_json(told: Explanation) -> None:
    from claudetm.cli.pulls import print_json

    data: dict[str, Any] = {
        "name": told.name,
        "title": told.title,
        "standing": told.standing,
        "since": told.since,
        "sessions": told.sessions,
        "cost_usd": told.cost_usd,
        "limits": {"sessions": told.most_sessions, "cost_usd": told.most_cost},
        "last": [{"time": at, "change": change, "text": text} for at, change, text in told.last],
        "used": [{"what": what, "used": used, "limit": most} for what, used, most in told.used],
        "waits_for": [{"why": a.why, "next": a.next, "until": a.until} for a in told.waits],
        "evidence": told.evidence,
        "work": told.work,
        "next": told.next,
    }
    print_json(data)


def _print(told: Explanation) -> None:
    from claudetm.cli.pulls import one_line, tell, tell_address

    tell(f"{told.name}: {one_line(told.title)}", hang=2)
    tell(f"It is {told.standing}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(told.since))}.", hang=2)
    if told.last:
        print("\nWhat happened last:")
    for at, change, text in told.last:
        line = one_line(text)
        line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
        tell(f"{time.strftime('%H:%M:%S', time.localtime(at))} {change:<4} {line}", 2, 14)
    if told.waits:
        print("\nWhat it waits for:")
    for awaited in told.waits:
        until = f" (until {time.strftime('%H:%M:%S', time.localtime(awaited.until))})" if awaited.until else ""
        tell(f"- {one_line(awaited.why)}{until}", 2, 2)
    if told.evidence or told.work:
        print("\nWhat shows it:")
    for line in told.evidence:
        tell(f"- {one_line(line)}", 2, 2)
    for line in told.work:
        tell_address(f"- {line}", 2)
    print("\nWhat it used:")
    sessions = f" of {told.most_sessions}" if told.most_sessions is not None else ""
    cost = f" of ${told.most_cost:.2f}" if told.most_cost is not None else ""
    tell(f"- sessions: {told.sessions}{sessions}, ${told.cost_usd:.2f}{cost}", 2, 2)
    for what, used, most in told.used:
        tell(f"- {what}: {used} of {most}", 2, 2)
    print()
    by_itself = "nothing; it goes on by itself" if told.waits else "nothing is left to do"
    tell(f"next: {one_line(told.next) or by_itself}", hang=2)
