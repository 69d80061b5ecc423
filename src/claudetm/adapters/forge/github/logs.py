"""What failed checks wrote, as the fixer gets it: the failed steps' part, without time stamps, colours and secrets.

The log of a job is kept whole (its end, of one beyond 2 MiB) in the run's `logs/checks`; what is kept is not fetched
again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, NotFound
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Pull
from claudetm.ports.forge import CheckLog
from claudetm.redact import printable, redact

MOST: Final = 2 * 1024 * 1024
_HEAD: Final = 64 * 1024
_TAIL: Final = 192 * 1024
_ANNOTATIONS: Final = 50
_JOBS: Final = 4  # of one name, whose logs are read
_STAMP: Final = re.compile(r"^\ufeff?(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z ?)?", re.MULTILINE)
_STEP: Final = re.compile(
    r"^(?=##\[group\]Run )|^(?=Post job cleanup\.$|Cleaning up orphan processes$)", re.MULTILINE
)
_SCRIPT: Final = re.compile(r"\A##\[group\]Run (?P<first>.*)\n(?P<script>(?:.*\n)*?)shell: ")
_SAID: Final = {"error": "Error: ", "warning": "Warning: ", "notice": "Notice: ", "command": "$ ", "group": ""}
_MARK: Final = re.compile(r"^##\[(?P<kind>error|warning|notice|command|group)\]", re.MULTILINE)
_DROPPED: Final = re.compile(r"^##\[(?:endgroup|debug|section)\].*\n?", re.MULTILINE)


def plain(raw: bytes) -> str:
    """Return a job's log without what stands before each line and without colours."""
    return _STAMP.sub("", printable(raw.decode("utf-8-sig", errors="replace")))


def failed_part(log: str) -> tuple[str, str]:
    """Return the failed steps' part of a plain log, and the script of the first of them ("" where that is no script).

    The whole log where no step says that it failed.
    """
    steps = [step for step in _STEP.split(log) if "##[error]" in step]
    script = next((m for m in map(_SCRIPT.match, steps) if m), None)
    text = "".join(steps) or log
    text = _MARK.sub(lambda m: _SAID[m["kind"]], _DROPPED.sub("", text))
    return text.strip("\n") + "\n" if text.strip() else "", script["script"].strip() if script else ""


def both_ends(text: str) -> str:
    """Return a text, of a long one the lines at both ends."""
    if len(text) <= _HEAD + _TAIL:
        return text
    head, tail = text[:_HEAD].rpartition("\n")[0], text[-_TAIL:].partition("\n")[2]
    return f"{head}\n[… {len(text) - len(head) - len(tail)} characters are left out …]\n{tail}"


class CheckLogs:
    """The logs of one repository's checks. All methods block; `folder` is where whole logs are kept."""

    def __init__(self, client: GithubClient, hosted: Hosted, folder: Path) -> None:
        """Take what asks GitHub, where, and the folder."""
        self._client = client
        self._at = f"/repos/{hosted.repository}"
        self._folder = folder

    def of(self, pull: Pull, check: str) -> CheckLog:
        """Return what a failed check of a pull request wrote, or says of itself."""
        runs, no_verdict = pull.failed_jobs.get(check, ()), pull.broken.get(check, "")
        if runs:
            return self.of_jobs(check, runs, no_verdict)
        summary = next((c.summary for c in pull.checks if c.name == check), "")
        return of_status(check, summary, pull.links.get(check, ""), no_verdict)

    def of_jobs(self, check: str, jobs: Sequence[int], no_verdict: str = "") -> CheckLog:
        """Return what the jobs of one name wrote: the first one's, and of the others what that does not hold."""
        first, *rest = (self.of_job(check, job, no_verdict) for job in jobs[:_JOBS])
        for log in rest:
            if not _lines(log.text) <= _lines(first.text):
                where = f" (whole: {log.path})" if log.path else ""
                text = f"{first.text.rstrip()}\n\n--- another job that is called {check}{where}:\n{log.text}"
                first = replace(first, text=text)
        return first

    def of_job(self, check: str, job: int, no_verdict: str = "") -> CheckLog:
        """Return what an Actions job wrote; where there is no log, what the check says of itself."""
        try:
            about = self._client.get(f"{self._at}/actions/jobs/{job}")
        except GithubRefused:
            return self.of_check_run(check, job, no_verdict)
        path = self._folder / f"{slug(check)}-{str(about.get('head_sha'))[:10]}-{job}.log"
        try:
            log = self._kept(path, job)
        except GithubRefused as refused:
            why = "is not kept any more" if isinstance(refused, NotFound) else f"cannot be read: {refused}"
            said = self.of_check_run(check, job, no_verdict)
            return replace(
                said, text=f"The log {why}. What the check says of itself:\n\n{said.text}", how=_how(about)
            )
        text, command = failed_part(log)
        return CheckLog(both_ends(text), str(path), command, _how(about), no_verdict)

    def _kept(self, path: Path, job: int) -> str:
        if not path.is_file():
            text = redact(plain(self._client.blob(f"{self._at}/actions/jobs/{job}/logs", MOST)))
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".tmp")
            fresh.write_text(text, encoding="utf-8")
            os.replace(fresh, path)  # noqa: PTH105 - one step: a killed driver leaves no half of a log
        return path.read_text(encoding="utf-8")

    def of_check_run(self, check: str, run: int, no_verdict: str = "") -> CheckLog:
        """Return what a check that is no job of Actions says: its title, summary, text and remarks on lines."""
        try:
            about = self._client.get(f"{self._at}/check-runs/{run}")
        except GithubRefused as refused:
            return CheckLog(redact(f"What {check} says cannot be read: {refused}"), no_verdict=no_verdict)
        output = about.get("output") or {}
        said = [output.get("title"), output.get("summary"), output.get("text"), *self._annotations(run, output)]
        link = about.get("details_url") or about.get("html_url")
        text = "\n\n".join(filter(None, (*said, f"Details: {link}" if link else "")))
        return CheckLog(both_ends(redact(printable(text))), how=_how(about), no_verdict=no_verdict)

    def _annotations(self, run: int, output: Mapping[str, Any]) -> Sequence[str]:
        if not output.get("annotations_count"):
            return ()
        try:
            notes = self._client.pages(f"{self._at}/check-runs/{run}/annotations")
        except GithubRefused:
            return ()
        return [f"{n['path']}:{n['start_line']}: {n.get('message') or ''}" for n in notes[:_ANNOTATIONS]]


def _lines(text: str) -> set[str]:
    """Return the lines of a log less their numbers: durations and ids are of one run alone."""
    return {re.sub(r"\d+", "", line).strip() for line in text.splitlines()}


def of_status(check: str, description: str, link: str, no_verdict: str = "") -> CheckLog:
    """Return what a commit status says: there is no log of it here, only where a person finds one."""
    text = description or f"{check} failed, and says nothing more."
    text += f"\n\nDetails: {link}" if link else ""
    return CheckLog(redact(printable(text)), how="failure", no_verdict=no_verdict)


def _how(about: Mapping[str, Any]) -> str:
    """Return how a job or a check run ended."""
    ended = str(about.get("conclusion") or about.get("status") or "")
    began, done = about.get("started_at"), about.get("completed_at")
    if ended == "timed_out" and began and done:
        minutes = (datetime.fromisoformat(done) - datetime.fromisoformat(began)).total_seconds() / 60
        return f"timed out after {minutes:.0f} min"
    return ended.replace("_", " ")


def slug(name: str) -> str:
    """Return what begins the names of the files that a check's logs are kept in."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return "".join(c if c.isalnum() else "-" for c in name)[:32].strip("-") + f"-{digest}"
