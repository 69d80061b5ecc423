"""Failed jobs run once more on GitHub. A look that does not show that yet is taken for what it is. All blocks."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused
from claudetm.adapters.forge.github.meant import Meant
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Pull
from claudetm.workflow.pull_request import Check, CheckState

LAG: Final = 90.0
"""Seconds for which a job that runs again may still be shown as it ended before."""


class GithubRuns:
    """The runs of one repository's workflows."""

    def __init__(
        self,
        client: GithubClient,
        hosted: Hosted,
        once: Once,
        faults: Callable[[str], None],
        meant: Meant | None = None,
    ) -> None:
        """Take what asks GitHub, and where, and what keeps the re-runs that nobody has written down yet."""
        self._client = client
        self._at = f"/repos/{hosted.repository}/actions/runs"
        self._once = once
        self._faults = faults
        self._meant = meant
        self._untold: dict[int, list[str]] = {}  # number -> re-runs that whoever asked for them writes down next
        self._again: dict[int, tuple[float, frozenset[int]]] = {}  # number -> until when, which jobs

    def rerun(self, pull: Pull) -> bool:
        """Run what failed once more; False where nothing of it can."""
        red = [c.name for c in pull.checks if c.state is CheckState.FAILED and c.name in pull.runs]
        runs, keys = dict.fromkeys(r for name in red for r in pull.runs[name]), list[str]()
        begun = {run for run in runs if self._begin(run, pull, keys)}
        self._untold.setdefault(pull.number, []).extend(keys)  # not where one had no answer: all are asked for again
        again = [n for n in red if not begun.isdisjoint(pull.runs[n])]
        jobs = frozenset(job for n in again for job in pull.failed_jobs.get(n, ()))
        self._again[pull.number] = (self._once.clock() + LAG, jobs)
        return bool(begun)

    def told(self, numbers: Iterable[int]) -> None:
        """Forget the re-runs of this driver: whoever asked for them has written that down, and looks again."""
        for key in [key for number in numbers for key in self._untold.pop(number, ())]:
            if self._meant:
                self._meant.drop(key)

    def _begin(self, run: int, pull: Pull, untold: list[str]) -> bool:
        before = self._about(run)
        if before.get("head_sha") != pull.head:
            return False
        attempt = int(before.get("run_attempt") or 1)
        earlier = _key(run, attempt - 1)
        if before.get("status") != "completed" or (self._meant and self._meant.has(earlier)):
            untold.append(earlier)  # a driver that died had it run again, and may not have seen how that ended
            return True

        def look() -> bool | None:
            now = self._about(run)
            begun = now.get("run_attempt") != before.get("run_attempt") or now.get("status") != "completed"
            return True if begun else None

        # one that could not be started has no job that failed
        which = "rerun" if before.get("conclusion") == "startup_failure" else "rerun-failed-jobs"
        untold.append(_key(run, attempt))
        if self._meant:
            self._meant.keep(_key(run, attempt))
        self._faults(f"rerun:before:{run}")
        try:
            self._once.write(lambda: self._client.write("POST", f"{self._at}/{run}/{which}") or True, look)
        except GithubRefused as refused:
            if re.search(r"already running|cannot be (re-?run|retried)", refused.message, re.IGNORECASE):
                return look() is not None
            _log.info("%s: its failed checks are not run again: %s", pull.url, refused)
            return False
        self._faults(f"rerun:after:{run}")
        return True

    def _about(self, run: int) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._client.get(f"{self._at}/{run}")
        except GithubRefused as refused:
            _log.info("The run %s of a workflow cannot be read: %s", run, refused)
            return {}
        return found

    @property
    def awaited(self) -> list[int]:
        """The pull requests whose new attempts have not been seen: one that failed again looks as it did before."""
        now = self._once.clock()
        return [number for number, (until, _) in self._again.items() if now <= until]

    def stale(self, pull: Pull) -> bool:
        """Whether it is shown as it failed before a re-run."""
        until, jobs = self._again.get(pull.number, (0.0, frozenset[int]()))
        red = {job for failed in pull.failed_jobs.values() for job in failed}
        return self._once.clock() <= until and not jobs.isdisjoint(red)

    def shown(self, pull: Pull) -> tuple[Check, ...]:
        """Return the checks, where one that runs again and is still shown as it failed before is pending."""
        if not self.stale(pull):
            return pull.checks
        _, jobs = self._again[pull.number]
        stale = {name for name, failed in pull.failed_jobs.items() if not jobs.isdisjoint(failed)}
        if not stale:
            del self._again[pull.number]
        return tuple(replace(c, state=CheckState.PENDING, summary="") if c.name in stale else c for c in pull.checks)


def _key(run: int, attempt: int) -> str:
    return f"rerun {run} after {attempt}"


_log: Final = logging.getLogger(__name__)
