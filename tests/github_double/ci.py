"""GitHub Actions of the double: each workflow job runs its shell command on a checkout of the pushed commit.

`pull_request` workflows test the merge with the base, and do not start where that conflicts. What a job prints is
its log. A job can be held, cancelled, fail to start, fail at its first attempt, or never report.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, cast

from github_double import merging, plumbing, rules
from github_double.moves import RefusedError
from github_double.state import (
    ACTIONS,
    Annotation,
    CheckRun,
    CheckSuite,
    CommitStatus,
    Event,
    Job,
    PullRequest,
    Repository,
    State,
    Step,
    Workflow,
    WorkflowRun,
)

Verdict = Literal["error", "failure", "pending", "success"]
_STARTS = frozenset({"opened", "reopened", "synchronize"})
_RED, _BOLD, _PLAIN = "\x1b[31;1m", "\x1b[36;1m", "\x1b[0m"


@dataclass(frozen=True)
class _Cause:
    """What sets workflows off: `sha` is reported on, `tested` is checked out."""

    event: str
    sha: str
    tested: str
    branch: str
    login: str
    pull: PullRequest | None = None


class Ci:
    """Listens to events, runs what they set off, and reports it."""

    def __init__(self, state: State, folder: Path) -> None:
        self.state = state
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="actions")
        self._futures: list[Future[None]] = []
        self._held: dict[str, list[Callable[[], None]]] = {}  # job -> the attempts that wait
        self._ends: dict[str, list[str]] = {}  # job -> how its next attempts end, whatever its command says
        self._silent: set[str] = set()
        self._running: set[subprocess.Popen[bytes]] = set()
        state.listeners.append(self.heard)

    # What tests ask for

    def hold(self, job: str) -> None:
        """Let the job's attempts stay in progress until `release`."""
        self._held.setdefault(job, [])

    def release(self, job: str) -> None:
        """Let those that are held go on."""
        with self.state.lock:
            self._futures += [self._pool.submit(attempt) for attempt in self._held.pop(job)]

    def silence(self, job: str) -> None:
        """Let the job never report: there is not even a run of it."""
        self._silent.add(job)

    def lose_runner(self, job: str) -> None:
        """Let the job's next attempt fail because its machine is gone: it has no log, and says why."""
        said = "The hosted runner lost communication with the server. Anything in your workflow that terminates"
        self._ends.setdefault(job, []).append(f"{said} the runner process can cause this error.")

    def ends(self, job: str, *conclusions: str) -> None:
        """Let the job's next attempts end so, without its command: cancelled, startup_failure, timed_out …"""
        self._ends.setdefault(job, []).extend(conclusions)

    def settle(self) -> None:
        """Wait until nothing runs but what is held."""
        while True:
            with self.state.lock:
                running, self._futures = self._futures, []
            for future in running:
                future.result(timeout=60)
            if not running:
                return

    def stop(self) -> None:
        """End everything."""
        for process in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self._pool.shutdown(wait=True, cancel_futures=True)

    # What sets a workflow off

    def heard(self, event: Event) -> None:
        """Start the workflows that the event sets off. What a workflow's own token does sets off none."""
        if event.login == ACTIONS:
            return
        repository = self.state.repository(event.repository)
        assert repository is not None
        if event.name == "push":
            branch = event.ref.removeprefix("refs/heads/")
            if not branch.startswith("gh-readonly-queue/"):
                self._start(repository, _Cause("push", event.sha, event.sha, branch, event.login))
        elif event.name == "merge_group":
            branch = event.ref.removeprefix("refs/heads/")
            self._start(repository, _Cause("merge_group", event.sha, event.sha, branch, event.login))
        elif event.name == "pull_request" and event.action in _STARTS:
            pull = repository.pulls[event.number]
            if tested := self._merged(repository, pull):
                cause = _Cause("pull_request", pull.head_sha, tested, pull.head_ref, event.login, pull)
                self._start(repository, cause)

    def _merged(self, repository: Repository, pull: PullRequest) -> str:
        """Return the commit of the pull request merged with its base, "" where they conflict."""
        base = rules.base_tip(repository, pull)
        tree = plumbing.merged_tree(repository.git, base, pull.head_sha)
        if not tree:
            return ""
        commit = plumbing.write_commit(repository.git, tree, [base, pull.head_sha], "Merge")
        plumbing.move(repository.git, f"refs/pull/{pull.number}/merge", commit)
        pull.test_merge = commit
        return commit

    def _start(self, repository: Repository, cause: _Cause) -> None:
        for workflow in repository.workflows.values():
            if cause.event not in workflow.on or self._silent >= set(workflow.jobs):
                continue
            if cause.pull and workflow.paths and not self._touches(repository, cause.pull, workflow.paths):
                continue
            suite = new_suite(self.state, repository, ACTIONS, cause.sha, cause.branch)
            known, moment = self.state.new_id(long=True), self.state.now()
            run = WorkflowRun(
                id=known,
                node_id=self.state.node("WFR", known),
                workflow=workflow.name,
                event=cause.event,
                sha=cause.sha,
                branch=cause.branch,
                suite=suite.id,
                login=cause.login,
                created_at=moment,
                updated_at=moment,
                run_number=1 + sum(r.workflow == workflow.name for r in repository.runs),
                pull=cause.pull.number if cause.pull else 0,
                tested=cause.tested,
            )
            repository.runs.append(self.state.known(run))
            self._attempt(repository, workflow, run, list(workflow.jobs))

    @staticmethod
    def _touches(repository: Repository, pull: PullRequest, paths: Iterable[str]) -> bool:
        base = plumbing.merge_base(repository.git, rules.base_tip(repository, pull), pull.head_sha)
        files = plumbing.changed_files(repository.git, base, pull.head_sha)
        return any(f.path.startswith(prefix) for f in files for prefix in paths)

    # Attempts

    def rerun(self, repository: Repository, run: WorkflowRun, *, failed_only: bool) -> None:
        """Try a run's jobs again, or those that failed."""
        if run.status != "completed":
            raise RefusedError(403, "This workflow is already running")
        latest = {job.name: job for job in run.jobs}
        again = [n for n, job in latest.items() if not failed_only or job.conclusion not in rules.PASSING]
        workflow = repository.workflows[run.workflow]
        again = again or list(workflow.jobs)  # one that failed to start has no jobs yet
        if failed_only and run.conclusion in rules.PASSING:
            raise RefusedError(403, "This workflow run cannot be retried")
        run.attempt += 1
        self._attempt(repository, workflow, run, again)

    def _attempt(self, repository: Repository, workflow: Workflow, run: WorkflowRun, names: list[str]) -> None:
        run.status, run.conclusion, run.updated_at = "in_progress", "", self.state.now()
        names = [name for name in names if name not in self._silent]
        forced = {name: self._ends[name].pop(0) for name in names if self._ends.get(name)}
        if "startup_failure" in forced.values():
            run.status, run.conclusion = "completed", "startup_failure"
            return
        done = {job.name for job in run.jobs if job.conclusion in rules.PASSING}
        for name in names:
            if {*workflow.needs.get(name, ())} - done:
                continue  # GitHub tells of it only when its turn has come
            job = self._queued(repository, run, name)
            work = partial(self._work, repository, run, job, workflow.jobs[name], forced.get(name, ""))
            if name in self._held:
                self._held[name].append(work)
            elif name in forced:
                work()
            else:
                self._futures.append(self._pool.submit(work))

    def _queued(self, repository: Repository, run: WorkflowRun, name: str) -> Job:
        known, moment = self.state.new_id(long=True), self.state.now()
        page = f"{self.state.url}/{repository.full_name}/actions/runs/{run.id}/job/{known}"
        check = CheckRun(
            id=known,
            node_id=self.state.node("CR", known),
            suite=run.suite,
            app=ACTIONS,
            name=name,
            sha=run.sha,
            status="in_progress",
            conclusion="",
            started_at=moment,
            details_url=page,
        )
        repository.checks.append(self.state.known(check))
        job = Job(
            id=known,
            node_id=self.state.node("JOB", known),
            run=run.id,
            attempt=run.attempt,
            name=name,
            status="in_progress",
            conclusion="",
            created_at=moment,
            started_at=moment,
        )
        run.jobs.append(self.state.known(job))
        return job

    def _work(self, repository: Repository, run: WorkflowRun, job: Job, command: str, forced: str) -> None:
        if " " in forced:  # why its runner was lost
            told = ("failure", "", forced)
        elif forced:
            told = (forced, f"{_stamp()} ##[error]The operation was {forced}.\n", f"The operation was {forced}.")
        else:
            told = self._executed(repository, run, job, command)
        with self.state.lock:
            self._report(repository, run, job, *told)

    def _executed(self, repository: Repository, run: WorkflowRun, job: Job, command: str) -> tuple[str, str, str]:
        """Run the command on the commit. Return how it ended, its log, and what is said of a failure."""
        checkout = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            packed = plumbing.run(repository.git, "archive", "--format=tar", run.tested).stdout
            subprocess.run(["tar", "-x", "-C", str(checkout)], input=packed, check=True)
            variables = {**plumbing.environment(), "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_SHA": run.tested}
            variables |= {"GITHUB_RUN_ATTEMPT": str(job.attempt), "PYTHONDONTWRITEBYTECODE": "1"}
            process = subprocess.Popen(
                ["bash", "-e", "-c", command],
                cwd=checkout,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
            output, _ = process.communicate()
            self._running.discard(process)
        finally:
            shutil.rmtree(checkout, ignore_errors=True)
        code = process.returncode
        log = _log(repository, run, command, output.decode(errors="replace"), code)
        return ("failure", log, f"Process completed with exit code {code}.") if code else ("success", log, "")

    def _report(
        self, repository: Repository, run: WorkflowRun, job: Job, conclusion: str, log: str, said: str
    ) -> None:
        moment = self.state.now()
        job.status, job.conclusion, job.completed_at, job.log = "completed", conclusion, moment, log
        job.steps = [
            Step("Set up job", 1, "completed", "success", job.started_at, job.started_at),
            Step("Run actions/checkout@v4", 2, "completed", "success", job.started_at, job.started_at),
            Step(f"Run {job.name}", 3, "completed", conclusion, job.started_at, moment),
            Step("Complete job", 4, "completed", "success", moment, moment),
        ]
        check = next(c for c in repository.checks if c.id == job.id)
        check.status, check.conclusion, check.completed_at = "completed", conclusion, moment
        check.annotations += [Annotation(said)] if said else []
        latest = {j.name: j for j in run.jobs}
        waiting = self._follow(repository, run, latest)
        if not waiting and all(j.status == "completed" for j in run.jobs):
            ends = {j.conclusion for j in latest.values()} - rules.PASSING
            run.status, run.updated_at = "completed", moment
            run.conclusion = "success" if not ends else ends.pop() if len(ends) == 1 else "failure"
        merging.tick(self.state, repository)

    def _follow(self, repository: Repository, run: WorkflowRun, latest: dict[str, Job]) -> bool:
        """Start the jobs whose turn has come; say whether there are any, also where a test keeps them back."""
        workflow = repository.workflows[run.workflow]
        passed = {name for name, job in latest.items() if job.conclusion in rules.PASSING}
        due = [n for n, needs in workflow.needs.items() if n not in latest and {*needs} <= passed]
        kept = [n for n in due if n in self._held]
        for name in kept:
            self._held[name].append(partial(self._kept, repository, workflow, run, name))
        if started := [n for n in due if n not in kept]:
            self._attempt(repository, workflow, run, started)
        return bool(due)

    def _kept(self, repository: Repository, workflow: Workflow, run: WorkflowRun, name: str) -> None:
        """Start a job that a test has kept back."""
        with self.state.lock:
            self._attempt(repository, workflow, run, [name])


def new_suite(state: State, repository: Repository, app: str, sha: str, branch: str) -> CheckSuite:
    """Record what an app reports on a commit."""
    known = state.new_id(long=True)
    suite = CheckSuite(known, state.node("CS", known), app, sha, branch, state.now())
    repository.suites.append(state.known(suite))
    return suite


@dataclass(frozen=True)
class Report:
    """What another CI says of a commit. Without a conclusion a check is in progress."""

    name: str
    conclusion: str
    title: str = ""
    url: str = ""
    by: str = "circleci-checks"


def report_check(state: State, repository: Repository, sha: str, told: Report) -> CheckRun:
    """Let an app other than Actions report a check."""
    mine = next((s for s in repository.suites if s.app == told.by and s.sha == sha), None)
    suite = mine or new_suite(state, repository, told.by, sha, "")
    known, moment = state.new_id(long=True), state.now()
    check = CheckRun(
        id=known,
        node_id=state.node("CR", known),
        suite=suite.id,
        app=told.by,
        name=told.name,
        sha=sha,
        status="completed" if told.conclusion else "in_progress",
        conclusion=told.conclusion,
        started_at=moment,
        completed_at=moment if told.conclusion else "",
        title=told.title,
        details_url=told.url,
    )
    repository.checks.append(state.known(check))
    merging.tick(state, repository)
    return check


def report_status(state: State, repository: Repository, sha: str, told: Report) -> CommitStatus:
    """Let an older kind of CI report a commit status: error, failure, pending, success."""
    known = state.new_id(long=True)
    status = CommitStatus(
        id=known,
        node_id=state.node("SC", known),
        sha=sha,
        context=told.name,
        state=cast("Verdict", told.conclusion),
        description=told.title,
        target_url=told.url,
        login=told.by,
        created_at=state.now(),
    )
    repository.statuses.append(state.known(status))
    merging.tick(state, repository)
    return status


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _log(repository: Repository, run: WorkflowRun, command: str, output: str, code: int) -> str:
    """Return a job's log as Actions writes it: a byte order mark, a moment before each line, groups, colours."""
    lines = [
        "Current runner version: '2.329.0'",
        "##[group]Operating System",
        "Ubuntu",
        "24.04.3",
        "##[endgroup]",
        "##[group]GITHUB_TOKEN Permissions",
        "Contents: read",
        "##[endgroup]",
        "##[group]Run actions/checkout@v4",
        f"with:\n  repository: {repository.full_name}",
        "##[endgroup]",
        f"HEAD is now at {run.tested[:7]}",
        f"##[group]Run {command.splitlines()[0] if command else ''}",
        *(f"{_BOLD}{line}{_PLAIN}" for line in command.splitlines()),
        "shell: /usr/bin/bash -e {0}",
        "##[endgroup]",
        *(f"{_RED}{line}{_PLAIN}" if "Error" in line else line for line in output.splitlines()),
        *([f"##[error]Process completed with exit code {code}."] if code else []),
        "Cleaning up orphan processes",
    ]
    told = "\n".join(lines).splitlines()
    return "\ufeff" + "".join(f"{_stamp()} {line}\n" for line in told)
