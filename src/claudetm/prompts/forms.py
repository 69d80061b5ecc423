"""The forms of the roles' answers, with the rules that go across their fields.

Prose that is too long is cut, never refused; a path, an id or a command that is too long is refused, because a cut
one means something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

from claudetm.ports.agent import Role

LINE: Final = 200  # characters
TEXT: Final = 4000
ALL: Final = 100  # the most that an audit gives
LONG: Final = 30_000  # of what somebody asked to be told
EXACT: Final = 1000
ITEMS: Final = 100


def _line(value: object) -> object:
    return _cut(" ".join(value.split()), LINE) if isinstance(value, str) else value


def _text(value: object) -> object:
    return _cut(value.strip(), TEXT) if isinstance(value, str) else value


def _long(value: object) -> object:
    return _cut(value.strip(), LONG) if isinstance(value, str) else value


def _cut(text: str, most: int) -> str:
    text = text.replace("\0", "")
    return text if len(text) <= most else text[: most - 1] + "…"


def _score(value: int) -> int:
    if not 0 <= value <= ALL:
        raise ValueError(f"is not a number from 0 to {ALL}")
    return value


def _exact(value: str) -> str:
    if len(value) > EXACT or "\0" in value:
        raise ValueError(f"is longer than {EXACT} characters or holds a NUL")
    return value.strip()


def _first(most: int) -> BeforeValidator:
    return BeforeValidator(lambda value: value[:most] if isinstance(value, list) else value)


Line = Annotated[str, BeforeValidator(_line)]
Text = Annotated[str, BeforeValidator(_text)]
Score = Annotated[int, Strict(), AfterValidator(_score)]
Long = Annotated[str, BeforeValidator(_long)]
Exact = Annotated[str, AfterValidator(_exact)]
Lines = Annotated[list[Line], _first(ITEMS)]
Exacts = Annotated[list[Exact], _first(ITEMS)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(_Form):
    """A command that was run in this session, and how it ended."""

    command: Exact
    exit_code: int


class Evidence(_Form):
    """Where it can be seen: a file, a line of it, a command that shows it."""

    path: Exact
    line: int = 0
    command: Exact = ""


class Blocker(_Form):
    """What is in the way, and what would remove it."""

    kind: Literal["access", "contradiction", "decision"]
    needs: Text
    tried: Text


class PlannedTask(_Form):
    """One session's work."""

    title: Line
    what: Text
    files: Exacts = Field(default_factory=list)
    acceptance: Lines = Field(default_factory=list)
    check: Exact = ""
    complexity: Literal["quick", "general", "coding", "debugging"] = "coding"


class PlannedChange(_Form):
    """One pull request's worth."""

    id: Exact
    title: Line
    why: Text = ""
    depends_on: Exacts = Field(default_factory=list)
    paths: Exacts = Field(default_factory=list)
    tasks: list[PlannedTask] = Field(default_factory=list)


class PlannedCriterion(_Form):
    """A state that can be observed at the end."""

    text: Line
    command: Exact = ""


class PlannerAnswer(_Form):
    """The plan, or why there is none."""

    outcome: Literal["planned", "nothing_to_do", "blocked"]
    summary: Text
    changes: list[PlannedChange] = Field(default_factory=list)
    criteria: list[PlannedCriterion] = Field(default_factory=list)
    assumptions: Annotated[list[Line], _first(5)] = Field(default_factory=list, description="at most 5")
    evidence: Lines = Field(default_factory=list, description="path:line, each with what stands there")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        match self.outcome:
            case "planned":
                _demand(bool(self.changes), "`planned` needs at least one change")
            case "nothing_to_do":
                _demand(not self.changes, "`nothing_to_do` has no changes")
                _demand(bool(self.criteria), "`nothing_to_do` needs the criteria that show it")
                _demand(bool(self.evidence), "`nothing_to_do` needs evidence: where the goal is met already")
            case "blocked":
                _demand(not self.changes, "`blocked` has no changes")
                _demand(bool(self.summary), "`blocked` needs a summary that says what is missing")
        return self


class _Work(_Form):
    """What a session that edits reports besides its outcome."""

    summary: Text
    checks: Annotated[list[Check], _first(ITEMS)] = Field(
        default_factory=list, description="commands run after the last edit, as they ended"
    )
    evidence: Annotated[list[Evidence], _first(ITEMS)] = Field(default_factory=list)
    blocker: Blocker | None = None
    remaining: Lines = Field(default_factory=list, description="what is still open, for the next session")
    learnings: Annotated[list[Line], _first(3)] = Field(
        default_factory=list,
        description="at most 3, of 200 characters: command, gotcha, decision or dead end, with path",
    )
    follow_ups: Annotated[list[Line], _first(3)] = Field(default_factory=list, description="at most 3, out of scope")


class WorkerAnswer(_Work):
    """How far the task is."""

    outcome: Literal["done", "unfinished", "blocked", "already_true"]

    @model_validator(mode="after")
    def _honest(self) -> Self:
        match self.outcome:
            case "done":
                _demand_done(self)
            case "unfinished":
                _demand(bool(self.remaining), "`unfinished` needs `remaining`: what the next session has to do")
            case "blocked":
                _demand(self.blocker is not None, "`blocked` needs a `blocker`")
            case "already_true":
                _demand(
                    bool(self.evidence), "`already_true` needs evidence: the path, and a command where one shows it"
                )
        return self


class SessionAnswer(_Work):
    """How far a task is that one session does whole."""

    outcome: Literal["done", "unfinished", "blocked"]
    report: Long = Field(default="", description="what the task asked to be told, whole; else empty")

    @model_validator(mode="after")
    def _honest(self) -> Self:
        match self.outcome:
            case "done":
                _demand_done(self)
                _demand(bool(self.summary), "`done` needs a summary")
            case "unfinished":
                _demand(bool(self.remaining), "`unfinished` needs `remaining`: what the next session has to do")
            case "blocked":
                _demand(self.blocker is not None, "`blocked` needs a `blocker`")
        return self


class FixerAnswer(_Work):
    """What the red check came from, and what became of it."""

    outcome: Literal["fixed", "flaky", "not_ours", "unfinished", "blocked"]
    cause: Line = Field(description="one sentence")
    reproduced: bool

    @model_validator(mode="after")
    def _honest(self) -> Self:
        match self.outcome:
            case "fixed":
                _demand(bool(self.cause), "`fixed` needs the cause")
                _demand_done(self)
            case "flaky" | "not_ours":
                _demand(
                    bool(self.evidence or self.checks), f"`{self.outcome}` needs evidence or the runs that show it"
                )
            case "unfinished":
                _demand(bool(self.remaining), "`unfinished` needs `remaining`: what the next session has to do")
            case "blocked":
                _demand(self.blocker is not None, "`blocked` needs a `blocker`")
        return self


class Finding(_Form):
    """Something wrong in the diff, at a place."""

    path: Exact
    line: int
    severity: Literal["blocking", "minor", "pre_existing"]
    claim: Text
    failure: Text = Field(description="the input or the steps, and what goes wrong then")
    confidence: Literal["high", "medium", "low"]


class Earlier(_Form):
    """What became of a finding of an earlier round."""

    id: Exact
    fixed: bool


class ReviewerAnswer(_Form):
    """What is wrong with the diff, and what was looked at."""

    findings: Annotated[list[Finding], _first(ITEMS)] = Field(default_factory=list)
    earlier: list[Earlier] = Field(default_factory=list)
    examined: Lines = Field(default_factory=list, description="files read and commands run, one each")

    @model_validator(mode="after")
    def _looked(self) -> Self:
        _demand(bool(self.examined), "`examined` needs the files that were read and the commands that were run")
        _demand_once("the earlier finding", (e.id for e in self.earlier))
        return self


class Reply(_Form):
    """The answer to one thread."""

    thread_id: Exact
    outcome: Literal["fixed", "declined", "question"]
    text: Text

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        _demand(bool(self.text), "a reply needs its text")
        return self


class ResponderAnswer(_Form):
    """A reply a thread, and the commands that show the fixes."""

    replies: list[Reply] = Field(default_factory=list)
    checks: Annotated[list[Check], _first(ITEMS)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        _demand_once("the thread", (r.thread_id for r in self.replies))
        return self


class Resolved(_Form):
    """How one conflicting file was settled."""

    path: Exact
    kept: Literal["ours", "theirs", "both", "regenerated", "undecided"]
    why: Text


class UpdaterAnswer(_Form):
    """Whether both sides now stand together."""

    outcome: Literal["resolved", "blocked"]
    files: list[Resolved] = Field(default_factory=list)
    checks: Annotated[list[Check], _first(ITEMS)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _settled(self) -> Self:
        undecided = [f.path for f in self.files if f.kept == "undecided"]
        match self.outcome:
            case "resolved":
                _demand(not undecided, f"`resolved` leaves nothing undecided, but {', '.join(undecided)} is")
            case "blocked":
                _demand(bool(undecided), "`blocked` names at least one file as undecided, with why")
        return self


class Judged(_Form):
    """The verdict on one criterion."""

    criterion_id: Exact
    verdict: Literal["holds", "fails", "unproven"]
    evidence: Lines = Field(default_factory=list, description="path:line, or a command run now and what it showed")
    missing: Text = ""

    @model_validator(mode="after")
    def _proven(self) -> Self:
        if self.verdict == "holds":
            _demand(any(self.evidence), "`holds` needs evidence: path:line, or a command that was run")
        return self


class VerifierAnswer(_Form):
    """A verdict a criterion."""

    results: list[Judged] = Field(default_factory=list)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        _demand(bool(self.results), "`results` needs a verdict for each criterion")
        _demand_once("the criterion", (r.criterion_id for r in self.results))
        return self


class AuditorAnswer(_Form):
    """How much of what was asked the work does, and what is missing."""

    score: Score = Field(description="0 to 100")
    notes: Text = Field(description="what the next session has to mend, most important first; empty at 100 alone")
    findings: Lines = Field(default_factory=list, description="path:line, each with what is wrong there")
    examined: Lines = Field(default_factory=list, description="files read and commands run, one each")

    @model_validator(mode="after")
    def _looked(self) -> Self:
        _demand(bool(self.examined), "`examined` needs the files that were read and the commands that were run")
        _demand(self.score == ALL or bool(self.notes), "a score below 100 needs `notes` that say what is missing")
        return self


class AnalystAnswer(_Form):
    """The answer to a question."""

    answer: Long
    evidence: Lines = Field(default_factory=list, description="path:line, each with what stands there")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        _demand(bool(self.answer), "`answer` needs the answer")
        return self


Answer = (
    PlannerAnswer
    | WorkerAnswer
    | SessionAnswer
    | FixerAnswer
    | ReviewerAnswer
    | ResponderAnswer
    | UpdaterAnswer
    | VerifierAnswer
    | AuditorAnswer
    | AnalystAnswer
)

ANSWERS: Final[Mapping[Role, type[Answer]]] = {
    Role.PLANNER: PlannerAnswer,
    Role.WORKER: WorkerAnswer,
    Role.FIXER: FixerAnswer,
    Role.REVIEWER: ReviewerAnswer,
    Role.RESPONDER: ResponderAnswer,
    Role.UPDATER: UpdaterAnswer,
    Role.VERIFIER: VerifierAnswer,
    Role.AUDITOR: AuditorAnswer,
    Role.ANALYST: AnalystAnswer,
}
"""The form of each role's answer; a worker's of a whole task is a SessionAnswer."""


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _demand_once(what: str, ids: Iterable[str]) -> None:
    for i, times in Counter(ids).items():
        _demand(times == 1, f"{what} {i} is answered {times} times")


def _demand_done(answer: WorkerAnswer | SessionAnswer | FixerAnswer) -> None:
    o = answer.outcome
    _demand(not answer.remaining, f"`{o}` leaves nothing in `remaining`; when something is open, say `unfinished`")
    _demand(answer.blocker is None, f"`{o}` has no `blocker`; when something is in the way, say `blocked`")
    _demand(
        not answer.checks or any(c.exit_code == 0 for c in answer.checks),
        f"every check failed, so this is not `{o}`; say `unfinished` or `blocked`",
    )
