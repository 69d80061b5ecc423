"""What we say on GitHub: each remark once, found by its marker; a thread is resolved after it, never over a person.

A reply and what follows it (resolved, opened again) are pieces: a driver that died between them is completed by the
next call. All of it blocks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused, NotFound, Unauthorised
from claudetm.adapters.forge.github.meant import Meant
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Pull
from claudetm.adapters.forge.github.reading import Reading
from claudetm.adapters.forge.github.reviews import mark
from claudetm.errors import ForgeError
from claudetm.ports.forge import Note
from claudetm.workflow.pull_request import Comment, Thread

MOST: Final = 60_000  # characters of a remark; GitHub takes 65,536, the marker included
_QUOTED: Final = 200
_UNPROCESSABLE: Final = 422
_NO_REPLY: Final = {404, 410, _UNPROCESSABLE}
_PENDING: Final = "one pending review"

LAG: Final = 90.0
"""Seconds for which a reply may not be shown."""

_RESOLVE: Final = """mutation ResolveThread($thread: ID!) {
  resolveReviewThread(input: {threadId: $thread}) { thread { id } } }"""
_REPLY: Final = """mutation Reply($thread: ID!, $body: String!) {
  addPullRequestReviewThreadReply(input: {pullRequestReviewThreadId: $thread, body: $body}) { comment { id } } }"""
_UNRESOLVE: Final = """mutation UnresolveThread($thread: ID!) {
  unresolveReviewThread(input: {threadId: $thread}) { thread { id } } }"""


class GithubNotes:
    """Remarks and replies on the pull requests of one repository."""

    def __init__(
        self,
        client: GithubClient,
        hosted: Hosted,
        reading: Reading,
        once: Once,
        faults: Callable[[str], None],
        meant: Meant,
    ) -> None:
        """Take what asks GitHub, where, how it is read, and what keeps the threads that are to be resolved."""
        self._client = client
        self._at = f"/repos/{hosted.repository}"
        self._reading = reading
        self._once = once
        self._faults = faults
        self._meant = meant
        self._whole: set[str] = set()  # markers of replies that nothing is to follow any more
        self._said: dict[tuple[int, str], str] = {}  # what a look may not show yet: (number, marker) -> thread
        self._lately: dict[tuple[int, str], tuple[float, Note, Comment]] = {}

    def write(self, number: int, note: Note) -> str:
        """Write a remark, or find it by its marker; return its thread's id."""
        pull = self._reading.pull(number)
        thread = pull.markers.get(note.marker, self._said.get((number, note.marker)))
        if note.resolve:
            self._meant.keep(_key(note.marker))
        if thread is None:
            thread = self._say(pull, note)
            self._said[number, note.marker] = thread
            said = Comment(self._client.login, note.body, ours=True)
            self._lately[number, note.marker] = (self._once.clock() + LAG, note, said)
        if note.resolve and thread:
            self._resolve(number, thread, note)
        if note.resolve:
            self._meant.drop(_key(note.marker))
        return thread

    def shown(self, pull: Pull) -> tuple[Thread, ...]:
        """Return the threads with our replies that looks do not show yet; none waits where none can be answered."""
        lately = [
            (note, said)
            for (number, marker), (until, note, said) in [*self._lately.items()]
            if number == pull.number and marker not in pull.markers and self._once.clock() <= until
        ]
        return tuple(self._answered(pull, thread, lately) for thread in pull.threads)

    def _answered(self, pull: Pull, thread: Thread, lately: Iterable[tuple[Note, Comment]]) -> Thread:
        for note, said in lately:
            if note.thread == thread.id:
                thread = thread.with_reply(said, resolve=note.resolve, seen=note.seen, reopen=note.reopen)
        if pull.pending and thread.id in pull.replies:  # it is `withheld` until then
            return replace(thread, unanswered=False, blocking=False)
        return thread

    def complete(self, pull: Pull) -> bool:
        """Resolve the threads that were to be resolved with our reply in them; return whether there are any."""
        left = {t.id: t for t in pull.threads if not t.resolved and t.id in pull.replies and t.comments[-1].ours}
        markers = [m for m, thread in pull.markers.items() if thread in left and m not in self._whole]
        meant = [m for m in markers if self._meant.has(_key(m))]
        for marker in meant:
            thread = left[pull.markers[marker]]
            self._resolve(pull.number, thread.id, Note(marker, "", thread.id, seen=len(thread.comments)))
            self._meant.drop(_key(marker))
        self._whole.update(markers)
        return bool(meant)

    def _say(self, pull: Pull, note: Note) -> str:
        thread = _thread(pull, note.thread)
        if note.thread and thread is None:
            return note.thread  # its author took the remark back: there is nothing to reply to
        if note.reopen and thread and thread.resolved and note.thread in pull.replies:
            self._reopen(pull.number, note.thread)
        elif thread and not thread.resolved and note.thread in pull.shut and not _resolves(note, thread):
            with suppress(NotFound):  # a person spoke again in it, and it stays open
                self._reopen(pull.number, note.thread)

        def look() -> str | None:
            return self._reading.pull(pull.number).markers.get(note.marker)

        self._faults(f"note:before:{note.marker}")
        try:
            said = self._once.write(lambda: self._send(pull, note, thread), look)
        except GithubRefused as refused:
            if _PENDING in str(refused):
                raise ForgeError(
                    f"A review of yours at {pull.url} is not submitted, and GitHub takes no reply meanwhile: submit"
                    " or discard it there, then claudetm resume"
                ) from refused
            if re.search(r"\blocked\b", str(refused)):
                raise ForgeError(
                    f"The conversation of {pull.url} is locked, so nothing can be said there: unlock it, or give the"
                    " token's account write permission, then claudetm resume"
                ) from refused
            raise
        self._faults(f"note:after:{note.marker}")
        return said or self._once.found(look) or ""

    def _send(self, pull: Pull, note: Note, thread: Thread | None) -> str:
        """Send a remark; return its thread, "" where only a look can tell."""
        if note.thread in pull.replies:
            path = f"{self._at}/pulls/{pull.number}/comments/{pull.replies[note.thread]}/replies"
            try:
                self._client.write("POST", path, {"body": _body(note, note.body, thread)})
            except GithubRefused as refused:
                if refused.status not in _NO_REPLY or _PENDING in str(refused):
                    raise
                now = self._reading.pull(pull.number)
                if now.pending:  # it would become a part of that review
                    raise
                if _thread(now, note.thread):  # what began it was taken back: REST replies to nothing else
                    self._client.mutate(_REPLY, thread=note.thread, body=_body(note, note.body, thread))
            return note.thread
        if thread:
            self._comment(pull.number, _body(note, f"{_quote(thread, pull.quoted)}\n\n{note.body}", thread))
            return note.thread
        if note.path and self._on_file(pull, note):
            return ""
        where = f"`{note.path}:{note.line}`" if note.line else f"`{note.path}`"
        said = self._comment(pull.number, _body(note, f"{where}: {note.body}" if note.path else note.body, None))
        return f"comment-{said['id']}"

    def _on_file(self, pull: Pull, note: Note) -> bool:
        """Write on a line, or on its file where the diff does not show the line; False where not the file either."""
        about: dict[str, Any] = {"body": _body(note, note.body, None), "commit_id": pull.head, "path": note.path}
        on_line = [{**about, "line": note.line, "side": "RIGHT"}] if note.line else []
        for remark in (*on_line, {**about, "subject_type": "file"}):
            try:
                self._client.write("POST", f"{self._at}/pulls/{pull.number}/comments", remark)
            except GithubRefused as refused:
                if refused.status != _UNPROCESSABLE or _PENDING in str(refused):
                    raise
            else:
                return True
        return False

    def _comment(self, number: int, body: str) -> Any:
        return self._client.write("POST", f"{self._at}/issues/{number}/comments", {"body": body})

    # threads of reviews

    def _resolve(self, number: int, name: str, note: Note) -> None:
        """Resolve a review's thread, unless a person has spoken in it since what we reply to."""
        pull = self._reading.pull(number)
        thread = _thread(pull, name)
        if thread is None or thread.resolved or name not in pull.replies or _missed(thread, note):
            return
        if name not in pull.resolvable:
            _log.info("%s: the token may not resolve %s", pull.url, name)
            return
        self._faults(f"resolve:before:{note.marker}")
        try:
            self._turn(number, name, _RESOLVE, resolved=True)
        except Unauthorised:
            raise
        except GithubRefused as refused:  # the reply stands, and asking again changes nothing
            _log.info("%s: %s stays unresolved: %s", pull.url, name, refused)
            return
        self._faults(f"resolve:after:{note.marker}")

    def _reopen(self, number: int, name: str) -> None:
        self._turn(number, name, _UNRESOLVE, resolved=False)

    def _turn(self, number: int, name: str, mutation: str, *, resolved: bool) -> None:
        def look() -> bool | None:
            pull = self._reading.pull(number)
            thread = _thread(pull, name)
            return True if thread and thread.resolved is resolved and name not in pull.shut else None

        self._once.write(lambda: bool(self._client.mutate(mutation, thread=name)), look)


def _key(marker: str) -> str:
    return f"resolve {marker}"


def _thread(pull: Pull, name: str) -> Thread | None:
    return next((t for t in pull.threads if t.id == name), None)


def _resolves(note: Note, thread: Thread | None) -> bool:
    """Whether a note closes its thread: not where a person has spoken since what it replies to."""
    return note.resolve and not (thread and _missed(thread, note))


def _missed(thread: Thread, note: Note) -> bool:
    """Whether a person has spoken since what the note replies to."""
    return bool(note.seen) and any(not c.ours for c in thread.comments[note.seen :])


def _body(note: Note, text: str, thread: Thread | None) -> str:
    """Return what is sent: the text with our marker, which says no `resolve` where a person has spoken since."""
    text = text if len(text) <= MOST else f"{text[: MOST - 1]}…"
    large = thread is not None and thread.id.startswith(("review-", "comment-"))
    line = mark(
        note.marker,
        _resolves(note, thread),
        not note.blocking,
        reopen=note.reopen,
        seen=note.seen,
        thread=note.thread if large else "",
    )
    return f"{text.rstrip()}\n\n{line}"


def _quote(thread: Thread, addresses: Any) -> str:
    """Return the beginning of what is replied to, as a quotation: such a thread takes no replies of its own."""
    first = thread.theirs or thread.comments[0]
    line = next(iter(first.body.strip().splitlines()), "")
    line = line if len(line) <= _QUOTED else f"{line[: _QUOTED - 1]}…"
    said = f"[{first.author}]({addresses[thread.id]})" if addresses.get(thread.id) else first.author
    return f"> {line}\n\n{said}:"


_log: Final = logging.getLogger(__name__)
