"""How a job's work becomes its result: what stands in `error`, when it is given up, what is kept of each death."""

from __future__ import annotations

import shlex
from typing import Final

from claudetm.intake.policy import MonitorPolicy
from claudetm.intake.queue import Entry
from claudetm.ports.source import Job, Output, Result, Status

_EVIDENCE: Final = 4000  # characters of each death that the result keeps


def job_of(entry: Entry) -> Job:
    """Return the job as it was claimed; of one that never could be, what the listing told."""
    if entry.job is not None:
        return entry.job
    return Job(entry.id, entry.source, "", entry.title, created=entry.created)


def completed(entry: Entry, output: Output, now: float) -> Result:
    """Return the result of a job that is done."""
    return _result(entry, Status.COMPLETED, output, "", now)


def failed(entry: Entry, error: str, now: float, next_command: str = "", output: Output | None = None) -> Result:
    """Return the result of a job that goes no further; the one command that helps stands behind the reason."""
    told = f"{error.rstrip('.')}. Next: {next_command or retry(entry.id)}"
    return _result(entry, Status.FAILED, output or Output(), told, now)


def refused(entry: Entry, why: str, now: float) -> Result:
    """Return the result of what cannot be a task."""
    return failed(entry, f"It cannot be a task: {why.rstrip('.')}.", now, f"mend it, then {retry(entry.id)}")


def retry(id_: str) -> str:
    """Return the command that lets a failed job go on."""
    return f"claudetm monitor retry {shlex.quote(id_)}"


def hopeless(entry: Entry, policy: MonitorPolicy) -> str:
    """Return why a job that is retrying is not tried again, or ""."""
    if entry.deaths >= policy.deaths or entry.deaths + entry.unseen >= policy.deaths_unseen:
        told = " ".join(f"[{n}] {_cut(each)}" for n, each in enumerate(entry.evidence, start=1))
        elsewhere = "" if entry.evidence else " They died at other monitors."
        count = entry.deaths + entry.unseen
        return f"quarantined: {count} workers died in a row without progress.{elsewhere} {told}".rstrip()
    if entry.postponed and entry.postponed_at - entry.postponed_since >= policy.postponed_most:
        hours = policy.postponed_most / 3600
        return f"It could not begin for {hours:.0f} hours; the last reason was: {entry.why.rstrip('.')}."
    return ""


def _cut(evidence: str) -> str:
    """Keep the end: what is said last is nearest to the death."""
    return evidence if len(evidence) <= _EVIDENCE else "…" + evidence[-_EVIDENCE:]


def _result(entry: Entry, status: Status, output: Output, error: str, now: float) -> Result:
    return Result(
        job=entry.id,
        status=status,
        created=entry.created,
        started=entry.started or now,
        completed=now,
        position=entry.position,
        output=output,
        error=error,
        retries=entry.retries,
    )
