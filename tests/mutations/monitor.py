"""What could be wrong in the monitor, one line each: claims that exclude nobody, tasks missed, lost or out of order.

Each is caught by the tests that are named for it, which run in a second or two.
"""

from __future__ import annotations

from typing import Final

from mutations.run import Mutation, of

_SOURCES: Final = "adapters/sources"
_FOLDER: Final = "unit/test_directory_source.py::"
_REAL: Final = "integration/test_directory_source.py::"
_EVERY_SOURCE: Final = "contract/test_source.py::TestSource::"
_MONITOR: Final = "unit/test_monitor.py::"
_KILLED: Final = "unit/test_monitor_killed.py::"

_CLAIMS: Final = of(
    f"{_SOURCES}/task_claims.py",
    (
        "a claim locks nothing",
        "            self._flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        f"{_EVERY_SOURCE}test_two_that_race_never_both_have_it",
    ),
    (
        "a file that was removed while it was locked is a claim",
        "            if _same(descriptor, self._path(job)):\n                return",
        "            if descriptor:\n                return",
        f"{_FOLDER}test_a_claim_that_ends_while_another_takes_it_is_no_claim_of_both",
    ),
    (
        "what another holds is released",
        "            if self._try(descriptor):\n                self._remove",
        "            if descriptor:\n                self._remove",
        f"{_EVERY_SOURCE}test_given_back_twice_it_is_not_taken_from_who_has_it_now",
    ),
    (
        "an end in order is a death",
        "if before and not before.closed:",
        "if before:",
        f"{_FOLDER}test_a_monitor_that_ends_in_order_is_no_death",
    ),
    (
        "deaths elsewhere are not counted",
        "deaths[before.owner] = deaths.get(before.owner, 0) + 1",
        "deaths[before.owner] = deaths.get(before.owner, 0)",
        f"{_FOLDER}test_what_a_job_has_cost_other_monitors_is_counted",
    ),
)

_FILES: Final = of(
    f"{_SOURCES}/task_file.py",
    (
        "a file is read while it is written",
        "if (writer := writer_of(descriptor)) is Writer.SOME:",
        "if (writer := writer_of(descriptor)) is None:",
        f"{_FOLDER}test_a_file_is_awaited_while_anybody_has_it_open_for_writing",
    ),
    (
        "a link leads out of the folder",
        "if not path.is_relative_to(folder.resolve()):",
        "if not path:",
        f"{_FOLDER}test_hostile_files_are_refused_and_the_others_go_on",
    ),
    (
        "a pipe is waited for",
        " | os.O_NONBLOCK | ",
        " | ",
        f"{_FOLDER}test_what_changed_between_the_look_and_the_reading_is_not_read",
    ),
    (
        "what is too large is read",
        "if status.st_size > LARGEST:",
        "if status.st_size > LARGEST << 20:",
        f"{_FOLDER}test_hostile_files_are_refused_and_the_others_go_on",
    ),
)

_FOLDERS: Final = of(
    f"{_SOURCES}/task_folder.py",
    (
        "nothing need settle",
        "elif quiet >= self._settings.quiet:",
        "elif quiet >= 0:",
        f"{_FOLDER}test_a_file_is_awaited_until_it_has_been_quiet",
    ),
    (
        "the order is that of names",
        "key=lambda w: w.order)",
        "key=lambda w: w.name)",
        f"{_FOLDER}test_what_is_new_goes_by_its_time_then_by_its_name",
    ),
    (
        "what is edited comes last",
        "if not waiting.came:",
        "if waiting.state:",
        f"{_FOLDER}test_a_task_that_is_edited_keeps_its_place",
    ),
    (
        "what a listing missed comes after what it found",
        "batch if missed else waiting.order[0]",
        "waiting.order[0]",
        f"{_FOLDER}test_what_a_listing_missed_among_what_came_with_it_keeps_its_place",
    ),
    (
        "a folder's time is exact",
        "not self._stamp_since + GRAIN_SECONDS <= self._listed <= now",
        "not self._stamp_since <= self._listed <= now",
        f"{_FOLDER}test_a_file_is_found_that_left_no_trace_on_its_folders_time",
    ),
    (
        "the clock never goes back",
        "<= self._listed <= now\n",
        "<= self._listed\n",
        f"{_FOLDER}test_a_clock_that_goes_back_loses_nothing",
    ),
    (
        "the folders are listed at each look",
        "return changed or now - self._listed >= LISTING_SECONDS",
        "return changed or now >= self._listed",
        f"{_FOLDER}test_ten_thousand_finished_tasks_are_listed_once_a_minute",
    ),
    (
        "what is away for a moment is lost",
        "return now - waiting.lost < LOST_SECONDS",
        "return now < waiting.lost",
        f"{_FOLDER}test_a_task_that_is_away_while_it_is_saved_keeps_its_place",
    ),
    (
        "the text is not read anew",
        "self._refresh(waiting, self._now(), anew=True)",
        "True",
        f"{_FOLDER}test_the_text_is_read_at_the_claim",
    ),
)

_SOURCE: Final = of(
    f"{_SOURCES}/directory.py",
    (
        "a hint is lost",
        "if not _takeable(offers) <= self._offered:",
        "if not _takeable(offers) <= _takeable(offers):",
        f"{_EVERY_SOURCE}test_a_hint_comes_when_something_has_come",
    ),
    (
        "hints spin",
        "if not _takeable(offers) <= self._offered:",
        "if _takeable(offers):",
        f"{_EVERY_SOURCE}test_hints_do_not_spin",
    ),
    (
        "what ended while its claim was waited for is claimed",
        "if waiting is None or self._folder.ended(job):",
        "if waiting is None:",
        f"{_FOLDER}test_what_ended_while_its_claim_was_taken_is_gone",
    ),
    (
        "a folder in place of the one that was watched goes unnoticed",
        "if self._place >= 0 and os.path.samestat(os.fstat(self._place), tasks.stat()):",
        "if self._place >= 0:",
        f"{_FOLDER}test_a_folder_that_is_removed_is_made_again_and_that_is_said",
    ),
    (
        "a claim on what is refused stays",
        "if not isinstance(outcome, Claimed):",
        "if outcome is None:",
        f"{_FOLDER}test_a_mistake_is_listed_with_its_line_and_the_task_is_taken_once_that_is_mended",
    ),
    (
        "what has just been written is looked at a second later",
        "seconds = SETTLE_SECONDS if self._folder.settling(_SETTLING_SECONDS) else TICK_SECONDS",
        "seconds = TICK_SECONDS",
        f"{_REAL}test_a_file_that_is_dropped_can_be_claimed_within_a_second",
    ),
)

_QUEUE: Final = (
    *of(
        "intake/attending.py",
        (
            "a result is written before it is journalled",
            "        await self.writer.append(event)\n        self.write(entry)",
            "        entry.result = event.result\n        self.write(entry)\n        await self.writer.append(event)",
            f"{_KILLED}test_killed_there_the_next_monitor_comes_to_the_same_end",
        ),
        (
            "a job that is given back is still ours by the journal",
            "        await self.writer.append(e.JobGivenBack(entry.id, why))\n",
            "        await asking.ask(asking.source.give_back(job, why))\n",
            f"{_MONITOR}test_after_the_grace_workers_are_stopped_and_their_jobs_given_back",
        ),
    ),
    *of(
        "intake/tending.py",
        (
            "the sweep is skipped but for the first",
            "            if self.asking.ready:\n                await self.sweep()",
            "            if self.asking.ready and not self.asking.swept:\n                await self.sweep()",
            f"{_MONITOR}test_without_hints_the_poll_finds_everything",
        ),
        (
            "a hint wakes nobody",
            "            self.asking.look.set()\n            await asyncio.sleep(GATHER_SECONDS)",
            "            await asyncio.sleep(GATHER_SECONDS)",
            f"{_MONITOR}test_many_hints_are_one_sweep",
        ),
        (
            "what has ended enters again",
            "return not self.attendant.results.ended(offer.id)",
            "return True",
            f"{_MONITOR}test_a_listing_that_lags_behind_brings_no_second_run",
        ),
        (
            "a worker goes on whose claim was lost",
            "            place.stop.set()",
            "            pass",
            f"{_MONITOR}test_a_claim_that_is_lost_stops_its_worker_and_nothing_is_reported",
        ),
    ),
    *of(
        "intake/monitor.py",
        (
            "what is tried again later is tried at once",
            "not entry.waiting and entry.due(now) and",
            "not entry.waiting and",
            f"{_MONITOR}test_what_passes_by_itself_is_tried_again_ever_more_slowly_and_not_counted_against_the_job",
        ),
    ),
    *of(
        "intake/reporting.py",
        (
            "a result is noted as reported whose file was never written",
            "if result is None or not self.attendant.write(entry):",
            "if result is None:",
            f"{_KILLED}test_killed_there_the_next_monitor_comes_to_the_same_end",
        ),
        (
            "a report is noted and not made",
            "        try:\n            await asking.ask(asking.source.finish",
            "        try:\n            await asking.source.list() if job else await asking.ask(asking.source.finish",
            f"{_MONITOR}test_a_result_that_cannot_be_reported_now_is_reported_later_and_stands_at_once",
        ),
    ),
    *of(
        "intake/ending.py",
        (
            "a fourth worker is spent",
            "if entry.deaths >= policy.deaths or",
            "if entry.deaths > policy.deaths or",
            f"{_MONITOR}test_three_deaths_in_a_row_quarantine_a_job_with_the_evidence_of_each_and_the_queue_goes_on",
        ),
    ),
)

MUTATIONS: Final[tuple[Mutation, ...]] = (
    *_CLAIMS,
    *_FILES,
    *_FOLDERS,
    *_SOURCE,
    *_QUEUE,
)
