"""The stores that ship pass one suite: on files and in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from claudetm.adapters.store.directory import FileInbox, FileViews
from claudetm.adapters.store.journal import FileJournal
from claudetm.adapters.store.lock import acquire
from claudetm.ports.store import Command
from claudetm.testing.memory import MemoryInbox, MemoryJournal, MemoryViews
from claudetm.testing.store_conformance import (
    INBOX_CHECKS,
    JOURNAL_CHECKS,
    VIEWS_CHECKS,
    Inboxes,
    Journals,
    Send,
)


@pytest.fixture(params=["file", "memory"])
def journals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journals]:
    if request.param == "memory":
        lines: list[str] = []
        yield lambda: MemoryJournal(lines)
        return
    opened: list[FileJournal] = []

    def reopen() -> FileJournal:
        opened.append(FileJournal(tmp_path / "journal.jsonl", lock))
        return opened[-1]

    with acquire(tmp_path / "lock") as lock:
        yield reopen
    for journal in opened:
        journal.close()


@pytest.mark.parametrize("check", JOURNAL_CHECKS)
def test_a_journal(check: Callable[[Journals], None], journals: Journals) -> None:
    check(journals)


@pytest.mark.parametrize("kind", ["file", "memory"])
@pytest.mark.parametrize("check", INBOX_CHECKS)
def test_an_inbox(check: Callable[[Inboxes, Send], None], kind: str, tmp_path: Path) -> None:
    if kind == "file":
        check(lambda: FileInbox(tmp_path / "inbox"), FileInbox(tmp_path / "inbox").send)
        return
    inbox = MemoryInbox()

    def send(command: Command) -> None:
        inbox.send(command.name, command.id, **command.arguments)

    check(lambda: inbox, send)


@pytest.mark.parametrize("check", VIEWS_CHECKS)
def test_views_on_files(check: Callable[..., None], tmp_path: Path) -> None:
    check(FileViews(tmp_path), lambda name: (tmp_path / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("check", VIEWS_CHECKS)
def test_views_in_memory(check: Callable[..., None]) -> None:
    views = MemoryViews()
    check(views, views.files.__getitem__)
