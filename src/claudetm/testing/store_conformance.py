"""What every journal, inbox and set of views must do, whatever it is made of.

A test takes a check and a factory. Each call of a factory opens the same storage again, as a restarted driver would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from claudetm.ports.store import Command, Inbox, Journal, Views
from claudetm.workflow.records import Record

Journals = Callable[[], Journal]
Inboxes = Callable[[], Inbox]
Send = Callable[[Command], object]
ReadView = Callable[[str], str]


def record(seq: int, data: dict[str, Any] | None = None, command: str = "") -> Record:
    """Return a record that a journal can keep; no run could fold it."""
    return Record(seq, 1_700_000_000.125 + seq, "MessageAdded", ("planning", "planning"), data or {}, command)


def write(journal: Journal, records: Sequence[Record]) -> None:
    """Append records one after the other."""

    async def append_all() -> None:
        for r in records:
            await journal.append(r)

    asyncio.run(append_all())


# --- journals ------------------------------------------------------------------------------------------------


def reads_nothing_at_first(journals: Journals) -> None:
    """Check that a new journal is empty, not an error."""
    assert list(journals().read()) == []


def reads_what_was_written(journals: Journals) -> None:
    """Check that records come back equal and in order, also from a journal opened anew."""
    records = [record(1, {"text": "a"}), record(2, {"text": "b"}, "command-1"), record(3)]
    journal = journals()
    write(journal, records)
    assert list(journal.read()) == records
    assert list(journals().read()) == records


def goes_on_where_it_stood(journals: Journals) -> None:
    """Check that a journal opened anew is appended to behind what it holds."""
    write(journals(), [record(1)])
    write(journals(), [record(2)])
    assert [r.seq for r in journals().read()] == [1, 2]


def is_read_while_it_is_written(journals: Journals) -> None:
    """Check that a reader beside the writer sees what was acknowledged."""
    writer, reader = journals(), journals()
    for seq in (1, 2, 3):
        write(writer, [record(seq)])
        assert [r.seq for r in reader.read()] == list(range(1, seq + 1))


def keeps_any_text(journals: Journals) -> None:
    """Line separators, control characters and lone surrogates are text like any other."""
    texts = ["a\nb\r\n", "\u2028\u2029\x85\x0b\x0c\x1c", "\x00\x1b[31m", "\ud800", "ünï 🎉", '"}', ""]
    records = [record(i, {"text": t, t: [t, None, True, 1.5, {"deep": t}]}) for i, t in enumerate(texts, 1)]
    write(journals(), records)
    assert list(journals().read()) == records


def keeps_what_the_writer_changes_later(journals: Journals) -> None:
    """Check that what is on record does not change with the object it was made from."""
    data: dict[str, Any] = {"list": [1]}
    journal = journals()
    write(journal, [record(1, data)])
    data["list"].append(2)
    assert [r.data for r in journal.read()] == [{"list": [1]}]


JOURNAL_CHECKS: Final = (
    reads_nothing_at_first,
    reads_what_was_written,
    goes_on_where_it_stood,
    is_read_while_it_is_written,
    keeps_any_text,
    keeps_what_the_writer_changes_later,
)


# --- inboxes -------------------------------------------------------------------------------------------------


def nothing_waits_at_first(inboxes: Inboxes, _send: Send) -> None:
    """Check that a new inbox is empty, not an error."""
    assert list(inboxes().pending()) == []


def commands_wait_in_order(inboxes: Inboxes, send: Send) -> None:
    """Check that what was sent first is applied first, whatever the ids are."""
    ids = [f"{(i * 7) % 20:02}" for i in range(20)]
    for i in ids:
        send(Command(i, "say", {"text": i}))
    assert [c.id for c in inboxes().pending()] == ids


def commands_come_whole(inboxes: Inboxes, send: Send) -> None:
    """Check that name and arguments are what was sent."""
    command = Command("one", "say", {"text": "a\nb \u2028 ünï", "deep": {"list": [1, None, True]}})
    send(command)
    assert list(inboxes().pending()) == [command]


def a_command_waits_until_it_is_done(inboxes: Inboxes, send: Send) -> None:
    """Check that looking takes nothing away: a driver that dies between applying and forgetting sees it again."""
    first, second = Command("one", "pause"), Command("two", "stop")
    send(first)
    send(second)
    inbox = inboxes()
    assert list(inbox.pending()) == [first, second]
    assert list(inboxes().pending()) == [first, second]
    inbox.done(first)
    assert list(inboxes().pending()) == [second]


def unknown_commands_are_done_already(inboxes: Inboxes, send: Send) -> None:
    """Check that forgetting twice, or what never was, changes nothing."""
    kept, gone = Command("kept", "pause"), Command("gone", "pause")
    send(kept)
    inbox = inboxes()
    inbox.done(gone)
    inbox.done(gone)
    assert list(inbox.pending()) == [kept]


INBOX_CHECKS: Final = (
    nothing_waits_at_first,
    commands_wait_in_order,
    commands_come_whole,
    a_command_waits_until_it_is_done,
    unknown_commands_are_done_already,
)


# --- views ---------------------------------------------------------------------------------------------------


def a_view_is_written_at_once(views: Views, read: ReadView) -> None:
    """Check that the first text of a view does not wait."""
    views.write("plan.md", "- [ ] t1: ünï\n")
    assert read("plan.md") == "- [ ] t1: ünï\n"


def views_are_apart(views: Views, read: ReadView) -> None:
    """Check that one view's text does not reach another."""
    views.write("plan.md", "plan")
    views.write("state.json", "{}")
    assert (read("plan.md"), read("state.json")) == ("plan", "{}")


VIEWS_CHECKS: Final = (a_view_is_written_at_once, views_are_apart)
