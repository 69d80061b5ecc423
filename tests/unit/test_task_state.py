"""The state directory of a monitor's task: its own below the repository's, whose settings and prompts it goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from claudetm.adapters.store.directory import NAME, StateDirectory
from claudetm.errors import StoreError


def outer(tmp_path: Path) -> StateDirectory:
    (tmp_path / ".git").mkdir()
    return StateDirectory(tmp_path / NAME)


def test_a_task_has_a_journal_of_its_own_and_the_repository_s_settings(tmp_path: Path) -> None:
    state = outer(tmp_path)
    task = state.of_task("task-1")
    assert task.root == state.root / "tasks" / "task-1"
    assert task.journal != state.journal
    assert (task.config, task.prompts, task.repository) == (state.config, state.prompts, tmp_path)
    assert (task.task, state.task) == ("task-1", "")


def test_a_directory_of_another_name_is_its_repository_s_own(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    assert (state.repository, state.config, state.task) == (tmp_path, tmp_path / "state" / "config.json", "")


def test_a_record_in_the_history_of_a_task_is_no_task(tmp_path: Path) -> None:
    record = StateDirectory(outer(tmp_path).of_task("a").history / "0101-0000-beef")
    assert (record.task, record.repository) == ("", tmp_path)


def test_a_name_that_no_path_can_hold_stays_below_the_folder_of_tasks(tmp_path: Path) -> None:
    state = outer(tmp_path)
    assert state.of_task("../../etc/passwd").root.parent == state.root / "tasks"
    assert state.of_task("a b").root != state.of_task("a-b").root


def test_making_a_task_s_directory_makes_all_above_it_for_their_owner_alone(tmp_path: Path) -> None:
    state = outer(tmp_path)
    task = state.of_task("a")
    task.create(tmp_path / ".git")
    assert [path.stat().st_mode & 0o777 for path in task.above] == [0o700] * 3
    assert (tmp_path / ".git" / "info" / "exclude").read_text() == f"/{NAME}/\n"
    assert [found.root for found in state.tasks()] == [task.root]


def test_a_link_in_place_of_the_folder_of_tasks_is_refused(tmp_path: Path) -> None:
    state = outer(tmp_path)
    state.create()
    (tmp_path / "elsewhere").mkdir()
    (state.root / "tasks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is not a directory of its own"):
        state.of_task("a").create()
    assert not list((tmp_path / "elsewhere").iterdir())
    assert state.tasks() == []


def test_archiving_the_user_s_own_run_leaves_the_tasks_alone(tmp_path: Path) -> None:
    state = outer(tmp_path)
    state.create()
    state.of_task("a").create()
    for path in (state.journal, state.of_task("a").journal):
        path.write_text("")
    state.archive("0101-0000-beef")
    assert state.of_task("a").journal.exists()
    assert not state.journal.exists()


def test_archiving_a_task_s_run_leaves_the_user_s_own_alone(tmp_path: Path) -> None:
    state = outer(tmp_path)
    task = state.of_task("a")
    task.create()
    for path in (state.journal, task.journal):
        path.write_text("")
    task.archive("0101-0000-beef")
    assert state.journal.exists()
    assert (task.history / "0101-0000-beef" / "journal.jsonl").exists()
