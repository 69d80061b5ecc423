"""Random walks through the state machine: what must hold of every run, whatever happens to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudetm.plan.model import Plan, plan_from_data, plan_to_data, problems
from claudetm.workflow import events as e
from claudetm.workflow.legality import IllegalEvent, edge
from claudetm.workflow.outcomes import Outcome
from claudetm.workflow.records import Record
from claudetm.workflow.run import ChangeState, Run, fold
from claudetm.workflow.stages import FINAL_PHASES, FINAL_STAGES, Mode, Phase, Stage
from claudetm.workflow.transitions import CHANGE, RUN
from story import (
    PHASES,
    QUESTION,
    ROUTES,
    SESSION,
    STARTED,
    Story,
    at,
    change,
    example,
    plan,
    record,
    required,
    working,
)

pytestmark = pytest.mark.sweep

DIAMOND: Final = (change("c1", tasks=2), change("c2", "c1"), change("c3", "c1"), change("c4", "c2", "c3"))
_KINDS: Final = [k for k in e.EVENTS.values() if k is not e.RunStarted]


def candidates(run: Run) -> Iterator[e.Event]:
    """Yield an event of every kind, legal now or not, for the run and for each of its changes."""
    for kind in _KINDS:
        if not issubclass(kind, e.ChangeEvent):
            yield from _of_run(run, kind)
    for i, state in run.changes.items():
        for kind in [k for k in _KINDS if issubclass(k, e.ChangeEvent)]:
            task = state.task
            yield example(kind, i, **({"task": task.id} if "task" in required(kind) and task else {}))


def _of_run(run: Run, kind: type[e.Event]) -> Iterator[e.Event]:
    match kind:
        case e.PlanProposed:
            yield e.PlanProposed(plan(*DIAMOND))
        case e.NothingToDo:
            yield e.NothingToDo(Plan(criteria=plan().criteria))
        case e.PlanEdited:
            yield e.PlanEdited(Plan(tuple(reversed(run.plan.changes)), run.plan.criteria), run.plan_seq)
        case e.PlanExtended:
            yield e.PlanExtended((change(f"x{run.seq}", *list(run.changes)[-1:]),))
        case e.SessionStarted:
            for owner in ("", *run.changes):
                yield e.SessionStarted(f"s{run.seq}", "worker", owner or "plan", owner, 1.0)
        case e.SessionEnded:
            for s in run.open_sessions.values():
                outcome = list(Outcome)[run.seq % len(Outcome)]
                yield e.SessionEnded(s.id, s.subject, outcome, s.change, resets_at=5_000.0, learnings=(s.id,))
        case _:
            yield example(kind)


def step(run: Run, event: e.Event) -> tuple[str, str] | None:
    """Return the step that the event would take, or None where it is refused."""
    try:
        return edge(run, event)
    except IllegalEvent:
        return None


_ENDING: Final = (
    e.RunCancelled,
    e.ChangeDropped,
    e.ChangeEmpty,
    e.PullRequestMerged,
    e.PullRequestClosed,
    e.PlanRejected,
    e.PullRequestAdopted,
)
"""They cut things short; a walk that took them as often as others would not get far."""
_PROGRESS: Final = (e.TaskStarted, e.TaskFinished, e.MergeQueued)
"""Notes without which nothing moves, or which come late."""


def walk(choices: list[int]) -> Iterator[Story]:
    """Yield one run after each of its random steps; the first choice is of its mode, too: most have a goal."""
    story = Story(*{1: SESSION, 3: QUESTION}.get(choices[0] % 8, STARTED))
    for choice in choices:
        steps = [(x, s) for x in candidates(story.run) if (s := step(story.run, x))]
        options = [x for x, _ in steps]
        moves = [x for x, (a, b) in steps if (a != b and not isinstance(x, _ENDING)) or isinstance(x, _PROGRESS)]
        if not options:
            return
        pool = moves if moves and choice % 3 else options
        story.tell(pool[choice // 3 % len(pool)], command=f"i{choice}" if choice % 5 == 0 else "")
        yield story


def told(choices: list[int]) -> Story:
    """Return the run at the end of a walk."""
    return list(walk(choices))[-1]


walks: Final = st.integers(1, 90).flatmap(lambda n: st.lists(st.integers(0, 10_000), min_size=n, max_size=n))
fast: Final = settings(max_examples=40, deadline=None, derandomize=True)


def indexes(run: Run) -> dict[str, object]:
    """Return what the run keeps up to date about its changes."""
    return {
        "active": set(run.active),
        "startable": set(run.startable),
        "stranded": set(run.stranded),
        "settled": run.settled,
    }


def recomputed(run: Run) -> dict[str, object]:
    """Return the same from the stages and the plan alone."""
    queued = [c for c in run.changes.values() if c.stage is Stage.QUEUED]
    needs: Mapping[str, list[ChangeState]] = {c.id: [run.changes[d] for d in c.plan.depends_on] for c in queued}
    stranded = {i for i, on in needs.items() if any(d.stage is Stage.ABANDONED and d.accepted for d in on)}
    return {
        "active": {c.id for c in run.changes.values() if c.stage is not Stage.QUEUED and not c.settled},
        "startable": {i for i, on in needs.items() if i not in stranded and all(d.settled for d in on)},
        "stranded": stranded,
        "settled": all(c.settled for c in run.changes.values()),
    }


def test_the_walks_get_everywhere() -> None:
    missing = {*e.EVENTS, *map(str, Phase), *map(str, Stage)}
    for seed in range(1000):
        if not missing:
            return
        for line in told(Random(seed).choices(range(10_001), k=90)).records:
            missing -= {line.type, line.edge[1]}
    assert not missing


@given(walks)
@fast
def test_the_indexes_of_changes_are_what_a_recomputation_says(choices: list[int]) -> None:
    for story in walk(choices):
        assert indexes(story.run) == recomputed(story.run)


@given(walks)
@fast
def test_folding_the_journal_gives_the_state_that_grew_with_it(choices: list[int]) -> None:
    story = told(choices)
    assert fold(story.records) == story.run


@given(walks)
@fast
def test_a_journal_survives_its_form_as_json(choices: list[int]) -> None:
    story = told(choices)
    lines = [json.dumps([r.seq, r.time, r.type, r.edge, r.data, r.command, r.schema]) for r in story.records]
    read = [Record(s, t, kind, (a, b), data, c, v) for s, t, kind, (a, b), data, c, v in map(json.loads, lines)]
    assert fold(read) == story.run


@given(walks, st.integers(0, 10_000))
@fast
def test_a_refused_event_changes_nothing(choices: list[int], which: int) -> None:
    story = told(choices)
    refused = [x for x in candidates(story.run) if step(story.run, x) is None]
    before = deepcopy(story.run)
    with pytest.raises(IllegalEvent):
        edge(story.run, refused[which % len(refused)])
    assert story.run == before


@given(walks)
@fast
def test_every_run_that_nobody_cancels_can_still_be_verified(choices: list[int]) -> None:
    story = told(choices)
    if story.run.phase is not Phase.CANCELLED:
        verify(story)
        assert story.run.phase is Phase.VERIFIED


def verify(story: Story) -> None:
    """Lead the run to its end by the shortest way that is left."""
    run = story.run
    if run.phase is Phase.PLANNING:
        story.tell(e.QuestionAnswered("Yes.") if run.mode is Mode.QUESTION else e.PlanProposed(plan(*DIAMOND)))
    if run.phase is Phase.PLANNED:
        story.tell(e.PlanApproved())
    while run.phase is Phase.WORKING and not run.settled:
        finish(story, next(iter({**run.active, **run.startable, **run.stranded})))
    if run.phase is Phase.WORKING:
        story.tell(e.VerificationStarted(run.tip))
    if run.phase is Phase.VERIFYING:
        story.tell(e.GoalVerified(run.verify_commit))


def finish(story: Story, i: str) -> None:
    """Take one change to a place where nothing more will come of it."""
    state = story.change(i)
    match state.stage:
        case Stage.QUEUED if i in story.run.stranded:
            story.tell(e.ChangeDropped(i))
        case Stage.QUEUED:
            story.tell(e.ChangeStarted(i, f"claudetm/{i}", "b0"))
        case Stage.WORKING if state.task:
            story.tell(e.TaskStarted(i, state.task.id, "b0"), e.TaskFinished(i, state.task.id, "h1"))
        case Stage.WORKING:
            story.tell(e.WorkDone(i, "h1") if story.run.mode is Mode.SESSION else e.ChangeReady(i, "h1"))
        case Stage.AUDITING:
            story.tell(e.AuditSkipped(i))
        case Stage.KEEPING:
            story.tell(e.ChangeKept(i, "", "h1"))
        case Stage.ABANDONED:
            story.tell(e.ChangeDropped(i))
        case _:
            story.tell(e.PullRequestMerged(i, f"m-{i}"))


@pytest.mark.parametrize("place", [*Phase, *Stage])
def test_every_place_is_reached(place: Phase | Stage) -> None:
    story = at(place)
    assert place in (story.run.phase, story.change().stage if story.run.changes else None)
    assert {*PHASES, *ROUTES} == {*Phase, *Stage}


def _reached(table: Mapping[Phase | Stage, Mapping[type[e.Event], object]], start: Phase | Stage) -> set[str]:
    """Return the places that the rows of one table lead to from `start`."""
    found, ahead = {str(start)}, [start]
    full = RUN if isinstance(start, Phase) else CHANGE
    while ahead:
        for row in full[ahead.pop()].values():
            if str(row.to) not in found:
                found.add(str(row.to))
                ahead.append(row.to)
    assert found <= {str(p) for p in table}
    return found


def test_the_tables_lead_from_the_start_to_every_place_and_from_each_to_an_end() -> None:
    assert _reached(RUN, Phase.PLANNING) == set(Phase)
    assert _reached(CHANGE, Stage.QUEUED) == set(Stage)
    assert all(_reached(RUN, p) & FINAL_PHASES for p in Phase)
    assert all(_reached(CHANGE, s) & FINAL_STAGES for s in Stage)


# --- journals of older versions ---------------------------------------------------------------------------------


@given(walks)
@fast
def test_a_journal_without_the_optional_fields_folds_as_with_their_defaults(choices: list[int]) -> None:
    old, new = Run(), Run()
    for line in told(choices).records:
        kind = e.EVENTS[line.type]
        needed = {name: line.data[name] for name in [*required(kind), *({"change"} & line.data.keys())]}
        defaults = e.event_to_data(example(kind, str(needed.get("change", ""))))
        old.apply(Record(line.seq, line.time, line.type, line.edge, needed, line.command))
        new.apply(Record(line.seq, line.time, line.type, line.edge, {**defaults, **needed}, line.command))
    assert old == new


def _where_legal(kind: type[e.Event]) -> Story:
    """Return a run in which an event of that kind, of c1 where it belongs to a change, may happen."""
    task = (e.TaskStarted("c1", "c1.t1", "b0"),)
    done = (*task, e.TaskFinished("c1", "c1.t1", "h1"))
    before: dict[type[e.Event], tuple[e.Event, ...]] = {
        e.TaskFinished: task,
        e.TaskSkipped: task,
        e.ChangeReady: done,
        e.ChangeEmpty: done,
        e.WorkDone: done,
        e.SessionEnded: (example(e.SessionStarted),),
        e.VerificationStarted: (e.ChangeDropped("c1"),),
    }
    table = CHANGE if issubclass(kind, e.ChangeEvent) else RUN
    place = next(p for p, rows in table.items() if kind in rows)
    mode = {e.WorkDone: Mode.SESSION, e.QuestionAnswered: Mode.QUESTION}.get(kind, Mode.GOAL)
    return at(place, mode).tell(*before.get(kind, ()))


@pytest.mark.parametrize("kind", _KINDS, ids=lambda k: k.__name__)
def test_each_event_folds_the_same_bare_and_with_defaults(kind: type[e.Event]) -> None:
    owner = "c1" if issubclass(kind, e.ChangeEvent) else ""
    event = e.NothingToDo(Plan(criteria=plan().criteria)) if kind is e.NothingToDo else example(kind, owner)
    full, bare = _where_legal(kind).run, _where_legal(kind).run
    taken = edge(full, event)
    full.apply(record(full.seq + 1, event, taken))
    bare.apply(record(bare.seq + 1, event, taken, bare=True))
    assert full == bare


def test_a_run_that_an_older_version_started_folds() -> None:
    full, bare = Run(), Run()
    full.apply(record(1, STARTED[0], ("", "planning")))
    bare.apply(record(1, STARTED[0], ("", "planning"), bare=True))
    assert full == bare


def test_an_edge_that_is_no_longer_legal_still_folds() -> None:
    run = working().run
    run.apply(record(run.seq + 1, e.ChecksAwaited("c1", "h1"), ("queued", "waiting_ci")))
    assert run.changes["c1"].stage is Stage.WAITING_CI


# --- plans ------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> Plan:
    """Draw a plan whose changes depend on any of each other."""
    ids = [f"c{n}" for n in range(draw(st.integers(1, 6)))]
    return Plan(tuple(change(i, *draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))) for i in ids))


def _has_an_order(p: Plan) -> bool:
    placed: set[str] = set()
    for _ in p.changes:
        placed |= {c.id for c in p.changes if set(c.depends_on) <= placed}
    return len(placed) == len(p.changes)


@given(graphs())
@fast
def test_a_plan_is_refused_exactly_when_its_changes_have_no_order(p: Plan) -> None:
    assert (problems(p) == ()) == _has_an_order(p)
    assert plan_from_data(json.loads(json.dumps(plan_to_data(p)))) == p


@given(graphs().filter(_has_an_order), st.lists(st.booleans(), min_size=12, max_size=12))
@fast
def test_work_on_any_plan_comes_to_an_end_and_never_before_what_it_depends_on(p: Plan, drops: list[bool]) -> None:
    story = working(*p.changes)
    run = story.run
    for drop in [*drops, *[False] * 100]:
        assert indexes(run) == recomputed(run)
        if run.settled:
            break
        if run.stranded:
            story.tell(e.ChangeDropped(next(iter(run.stranded))))
            continue
        i = next(iter({**run.active, **run.startable}))
        assert all(run.changes[d].settled for d in run.changes[i].plan.depends_on)
        if drop:
            story.tell(e.ChangeDropped(i))
        else:
            finish(story, i)
    assert run.settled
