"""The checks of a commit on GitHub: check runs, commit statuses, and required ones that have not reported.

Mostly pure: what GraphQL's rollup says, and what REST says where a token is refused that, comes to the same values.
Only success, neutral and skipped pass; what GitHub may invent one day is pending, never green.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote

from claudetm.adapters.forge.github.refusals import GithubRefused, Unauthorised
from claudetm.workflow.pull_request import UNREPORTED, Check, CheckState

ACTIONS: Final = "github-actions"
"""The app that reports what workflows do."""

_PASSED: Final = frozenset({"success", "neutral", "skipped"})
_FAILED: Final = frozenset({"failure", "error", "timed_out", "cancelled", "startup_failure", "stale"})
_NO_VERDICT: Final = {
    "cancelled": "it was cancelled",
    "startup_failure": "it could not be started",
    "stale": "GitHub gave up waiting for it",
}
_LOST: Final = (
    "The runner has received a shutdown signal",
    "lost communication with the server",
    "The hosted runner encountered an error",
    "The job was not acquired by Runner",
    "The job was not started because",
)
_SATISFIED: Final = frozenset({"CLEAN", "HAS_HOOKS", "UNSTABLE"})
_MOST: Final = 300  # characters of a check's own words


@dataclass(frozen=True, slots=True)
class Reported:
    """One check run or commit status. `verdict` is its conclusion, or how far it is, in GitHub's words."""

    name: str
    verdict: str
    title: str = ""
    app: str = ""  # "" for a commit status
    workflow: str = ""  # its name; of Actions only
    file: str = ""  # tells workflows of one name apart
    event: str = ""  # what set the workflow off
    id: int = 0  # a check run's, which is an Actions job's too
    node: str = ""  # GraphQL's id of it
    run: int = 0  # the workflow run's id
    link: str = ""
    required: bool = False
    goes_on: bool = False  # its workflow has not ended

    @property
    def state(self) -> CheckState:
        """What the verdict comes to."""
        if self.verdict in _PASSED:
            return CheckState.PASSED
        return CheckState.FAILED if self.verdict in _FAILED else CheckState.PENDING

    @property
    def summary(self) -> str:
        """How it stands, in a line."""
        if self.verdict == "action_required":
            return f"a person must approve the run{f' at {self.link}' if self.link else ''}"
        title = " ".join(self.title.split())
        title = title if len(title) <= _MOST else f"{title[: _MOST - 1]}…"
        return ": ".join(filter(None, (self.verdict.replace("_", " "), title)))

    @property
    def obscure(self) -> bool:
        """Whether only its annotations tell if it failed or its runner was lost."""
        return self.app == ACTIONS and self.verdict in {"failure", "timed_out"}


@dataclass(frozen=True, slots=True)
class Checks:
    """The fields are those of `Pull` of the same names."""

    checks: tuple[Check, ...] = ()
    failed_jobs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    runs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    goes_on: bool = False


def judged(reported: Iterable[Reported], required: Collection[str], told: Mapping[int, str]) -> Checks:
    """Return the checks of a head: the newest of each, one for each name, and required ones that have not reported.

    `required` are plain names; `told` has what failed check runs say of themselves, by their ids.
    """
    newest = _newest(reported)
    named: dict[str, list[Reported]] = {}
    for one in newest:
        named.setdefault(one.name, []).append(one)
    known = [_Named(name, tuple(alike), told) for name, alike in named.items()]
    checks = [Check(n.name, n.state, n.required or n.name in required, n.summary) for n in known]
    checks += [Check(n, CheckState.PENDING, summary=UNREPORTED) for n in sorted({*required} - {*named})]
    more = [f"{n} (workflow)" if n in named or n in required else n for n in _between(newest)]
    checks += [Check(n, CheckState.PENDING, required=False, summary=_GOES_ON) for n in more]
    red = [n for n in known if n.state is CheckState.FAILED]
    return Checks(
        tuple(checks),
        {n.name: jobs for n in red if (jobs := n.ids)},
        {n.name: runs for n in known if (runs := n.runs)},
        {n.name: why for n in red if (why := n.broken)},
        {n.name: link for n in known if (link := n.link)},
        bool(more),
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """All that reports under one name, as one check: so the rules that require it take it, and so it stays called.

    A workflow that runs on pushes and on pull requests reports it twice, and so do two workflows with a job of that
    name. It has ended when all of them have.
    """

    name: str
    alike: tuple[Reported, ...]
    told: Mapping[int, str]

    @property
    def state(self) -> CheckState:
        states = {r.state for r in self.alike}
        return next(s for s in (CheckState.PENDING, CheckState.FAILED, CheckState.PASSED) if s in states)

    @property
    def deciding(self) -> list[Reported]:
        """Those by which it stands as it does; first those that say something, and that ran what would be merged."""
        those = [r for r in self.alike if r.state is self.state]
        return sorted(those, key=lambda r: (bool(self._why(r)), r.event == "push"))

    @property
    def required(self) -> bool:
        return any(r.required for r in self.alike)

    @property
    def summary(self) -> str:
        """How it stands, and, where several workflows or apps report it, of which that is."""
        several = len({_source(r) for r in self.alike}) > 1
        return "; ".join(dict.fromkeys(f"{_source(r)}: {r.summary}" if several else r.summary for r in self.deciding))

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(r.id for r in self.deciding if r.id)

    @property
    def runs(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(r.run for r in self.deciding if r.run))

    @property
    def broken(self) -> str:
        """Why it says nothing about the code, where none of those that are red does."""
        whys = [self._why(r) for r in self.deciding]
        return "; ".join(dict.fromkeys(whys)) if all(whys) else ""

    @property
    def link(self) -> str:
        return next((r.link for r in self.deciding if r.link), "")

    def _why(self, one: Reported) -> str:
        return _no_verdict(one, self.told.get(one.id, "")) if one.state is CheckState.FAILED else ""


_GOES_ON: Final = "the workflow goes on: a job that waits for others is told of only when its turn has come"


def _between(reported: Sequence[Reported]) -> list[str]:
    """Return the workflows that go on though none of their jobs does.

    A job that needs others has no check run until they have ended: between the two all would look green
    (https://github.com/lewagon/wait-on-check-action/issues/71).
    """
    busy = {r.run for r in reported if r.state is CheckState.PENDING}
    return sorted({_source(r) for r in reported if r.goes_on and r.run not in busy})


def _newest(reported: Iterable[Reported]) -> list[Reported]:
    """Return the newest of each: one that was run again counts once. Ids grow."""
    newest: dict[tuple[str, ...], Reported] = {}
    for one in reported:
        key = (one.app, one.file or one.workflow, one.event, one.name)
        if key not in newest or newest[key].id < one.id:
            newest[key] = one
    return list(newest.values())


def _source(one: Reported) -> str:
    return one.workflow or one.app or "status"


def _no_verdict(one: Reported, told: str) -> str:
    """Return why a failed check says nothing about the code, or ""."""
    if why := _NO_VERDICT.get(one.verdict):
        return why
    text = f"{one.title}\n{told}"
    return next((f"its runner was lost: {lost}" for lost in _LOST if lost in text), "")


def missing(required: Collection[str], status: str, unread: str) -> Collection[str]:
    """Return the required checks that are to be waited for: none that cannot be read where GitHub is satisfied."""
    return () if unread and status in _SATISFIED else required


# --- what GraphQL says ------------------------------------------------------------------------------------------


def from_context(data: Mapping[str, Any]) -> Reported:
    """Return a node of the rollup's contexts."""
    if data["__typename"] == "StatusContext":
        return Reported(
            data["context"],
            data["state"].lower(),
            data["description"] or "",
            link=data["targetUrl"] or "",
            required=data.get("isRequired", False),
        )
    suite = data["checkSuite"]
    run = suite["workflowRun"] or {}
    workflow = run.get("workflow") or {}
    return Reported(
        data["name"],
        (data["conclusion"] or data["status"]).lower(),
        data["title"] or "",
        (suite["app"] or {}).get("slug", ""),
        workflow.get("name", ""),
        workflow.get("id", ""),
        run.get("event", ""),
        data["databaseId"] or 0,
        data["id"],
        run.get("databaseId") or 0,
        data["detailsUrl"] or "",
        data.get("isRequired", False),
        bool(run) and suite["status"] != "COMPLETED",
    )


def said_of_itself(data: Mapping[str, Any]) -> str:
    """Return what a failed check run's summary and annotations say."""
    notes = (data.get("annotations") or {}).get("nodes") or []
    return _text(data.get("summary"), notes)


def _text(summary: str | None, notes: Iterable[Mapping[str, Any] | None]) -> str:
    words = [word for n in notes if n for word in (n.get("title"), n.get("message"))]
    return "\n".join(filter(None, (summary, *words)))


# --- what REST says, where the token may not read the rollup ----------------------------------------------------


class Rest(Protocol):
    """What is asked of `GithubClient` here."""

    def get(self, path: str, **params: Any) -> Any:
        """Return what a path holds."""
        ...

    def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:
        """Return a whole list."""
        ...


def by_rest(client: Rest, repository: str, commit: str) -> tuple[list[Reported], str]:
    """Return what may be read of a commit's checks, and a clause that says what may not, or "".

    Raises ForgeBusy where GitHub does not answer: that is not the same as being refused.
    """
    at, refused, found = f"/repos/{repository}", list[str](), list[Reported]()

    def ask(what: str, read: Callable[[], Iterable[Reported]]) -> None:
        try:
            found.extend(read())
        except Unauthorised:
            raise
        except GithubRefused:
            refused.append(what)

    ask("workflow runs", lambda: _of_actions(client, at, commit))
    known = not refused
    ask("check runs", lambda: [r for r in _of_apps(client, at, commit) if not (known and r.app == ACTIONS)])
    ask("commit statuses", lambda: _of_statuses(client, at, commit))
    unread = f"the token may not read the {' and '.join(refused)} of {commit[:10]}" if refused else ""
    return found, unread


def _of_actions(client: Rest, at: str, commit: str) -> Iterable[Reported]:
    for run in client.pages(f"{at}/actions/runs", "workflow_runs", head_sha=commit):
        jobs = client.pages(f"{at}/actions/runs/{run['id']}/jobs", "jobs", filter="latest")
        # a run that waits for approval, or could not be started, has no job yet
        for job in jobs or [run | {"id": 0}]:
            yield Reported(
                job["name"] or "",
                (job["conclusion"] or job["status"] or "queued").lower(),
                app=ACTIONS,
                workflow=run["name"] or "",
                file=str(run["workflow_id"]),
                event=run["event"],
                id=job["id"],
                run=run["id"],
                link=job["html_url"] or "",
                goes_on=run["status"] != "completed",
            )


def _of_apps(client: Rest, at: str, commit: str) -> Iterable[Reported]:
    for run in client.pages(f"{at}/commits/{commit}/check-runs", "check_runs", filter="latest"):
        yield Reported(
            run["name"],
            (run["conclusion"] or run["status"]).lower(),
            (run["output"] or {}).get("title") or "",
            (run["app"] or {}).get("slug", ""),
            id=run["id"],
            link=run["details_url"] or "",
        )


def _of_statuses(client: Rest, at: str, commit: str) -> Iterable[Reported]:
    for status in client.pages(f"{at}/commits/{commit}/status", "statuses"):
        yield Reported(
            status["context"], status["state"].lower(), status["description"] or "", link=status["target_url"] or ""
        )


def annotations_by_rest(client: Rest, repository: str, run: int) -> str:
    """Return what a failed check run's annotations say, "" where the token may not read them."""
    try:
        return _text("", client.pages(f"/repos/{repository}/check-runs/{run}/annotations"))
    except Unauthorised:
        raise
    except GithubRefused:
        return ""


def contexts_by_rules(client: Rest, repository: str, branch: str) -> tuple[str, ...]:
    """Return the checks that rulesets require of a branch; none where they may not be read, or there are none."""
    try:
        rules = client.pages(f"/repos/{repository}/rules/branches/{quote(branch, safe='')}")
    except Unauthorised:
        raise
    except GithubRefused:
        return ()
    required = [r["parameters"]["required_status_checks"] for r in rules if r["type"] == "required_status_checks"]
    return tuple(dict.fromkeys(str(check["context"]) for checks in required for check in checks))
