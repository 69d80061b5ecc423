"""Results as files: `results/<id>.json`, written in one step. A result that is set aside goes to `replaced/`.

The keys are what users' scripts read: some are added with time, none is renamed.
"""

from __future__ import annotations

import json
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from claudetm.adapters.store.directory import disk, write_atomically
from claudetm.errors import StoreError
from claudetm.ports.results import Kept
from claudetm.ports.source import Job, Result, Status, refuse_name

SCHEMA: Final = 1
REPLACED: Final = "replaced"
_LARGEST: Final = 1 << 26  # bytes; what is larger is no result of ours


def result_data(result: Result, job: Job) -> dict[str, Any]:
    """Return a result as its file has it."""
    output = result.output
    return {
        "task_id": result.job,
        "status": str(result.status),
        "created_at": _iso(result.created),
        "started_at": _iso(result.started),
        "completed_at": _iso(result.completed),
        "queue_position": result.position,
        "worker_output": {
            "summary": output.summary,
            "raw_output": output.raw,
            "usage": dict(output.usage),
            "cost_usd": output.cost_usd,
        },
        "audit_score": output.score,
        "audit_notes": output.notes,
        "artifacts": [dict(a) for a in output.artifacts],
        "error": result.error,
        "retry_count": result.retries,
        "title": job.title,
        "source": job.source,
        "mode": str(job.mode),
        "run": output.run,
        "repository": job.repository,
        "schema": SCHEMA,
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class FileResults:
    """Implements ports/results.Results in one directory, which the monitor makes at its first start."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, job: str) -> Path:
        """Return where a job's result is. Raises StoreError for a name that no job can have."""
        if why := refuse_name(job):
            raise StoreError(f"{job!a} is no task's name: {why}.")
        return self.root / f"{job}.json"

    def write(self, result: Result, job: Job) -> None:
        """Keep a result, for its owner alone. Raises StoreError."""
        path = self.path(result.job)
        if not self.root.is_dir():  # an empty one in its place would let every task run anew
            raise StoreError(f"{self.root} is not there, and results are kept in it: put it back.")
        text = json.dumps(result_data(result, job), ensure_ascii=False, indent=2)
        write_atomically(path, text + "\n")

    def ended(self, job: str) -> bool:
        """Return whether there is a file for it, whatever it holds."""
        path = self.path(job)
        with disk(path, "read"):
            return _there(path)

    def read(self, job: str) -> Kept | None:
        """Return what is kept of a job, or None where there is no file."""
        data = self.load(job)
        if data is None:
            return None
        retries = data.get("retry_count", 0)
        source, repository = data.get("source", ""), data.get("repository", "")
        try:
            status = Status(str(data.get("status")))
        except ValueError:
            raise self._no_result(job, "its status is none that is known") from None
        if not (isinstance(retries, int) and isinstance(source, str) and isinstance(repository, str)):
            raise self._no_result(job, "retry_count, source or repository is of a wrong kind")
        return Kept(job, status, source, retries, repository)

    def load(self, job: str) -> dict[str, Any] | None:
        """Return the whole of a result's file as JSON values, or None where there is none. Raises StoreError."""
        path = self.path(job)
        with disk(path, "read"):
            try:
                # a pipe in its place would be waited for
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as handle:
                    if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
                        raise self._no_result(job, "it is no file")
                    content = handle.read(_LARGEST + 1)
            except FileNotFoundError:
                return None
        try:
            if len(content) > _LARGEST:
                raise self._no_result(job, "it is too large")
            data = json.loads(content)
        except (ValueError, RecursionError):
            raise self._no_result(job, "it is no JSON") from None
        if not isinstance(data, dict) or data.get("task_id") != job:
            raise self._no_result(job, f"it does not say task_id {job}")
        return data

    def _no_result(self, job: str, why: str) -> StoreError:
        return StoreError(f"{self.path(job)} is no result: {why}; remove it to let the task run again.")

    def replace(self, job: str) -> bool:
        """Move a result to `replaced/`, under a name of its own."""
        path = self.path(job)
        folder = self.root / REPLACED
        with disk(path):
            if not _there(path):
                return False
            folder.mkdir(mode=0o700, exist_ok=True)
            path.replace(folder / f"{job}.{time.time_ns()}.json")
        return True


def _there(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
