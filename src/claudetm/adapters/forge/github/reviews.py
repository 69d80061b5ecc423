"""What people, bots and we have said about a pull request on GitHub, as threads. Pure: GraphQL's values in, ours out.

A remark is ours where the token's own account wrote it and it ends in our marker; without one, a person used that
account. Who is not listened to is not shown, gates nothing and is named; what is minimised and not ours, or a draft,
was not said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote, unquote

from claudetm.workflow.pull_request import Comment, Thread

MOST: Final = 64 * 1024
"""Characters of a remark that are heard."""

GHOST: Final = "ghost"
"""GitHub's name for accounts that were deleted."""

_MARK: Final = re.compile(r"(?:\A|\n)<!-- claudetm (?P<said>[^\n>]+) -->\s*\Z")
_QUOTE: Final = re.compile(r"\A(?:> ?[^\n]*\n)+\s*(?:(?:\[[^\]\n]*\]\([^)\n]*\)|\S+):\n\s*)?")
_OPINIONS: Final = frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})


# --- our marker -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """What a remark of ours says of itself, out of sight."""

    marker: str
    resolve: bool = False  # it closes its thread
    quiet: bool = False  # it asks for nothing
    reopen: bool = False  # it asks for an answer again
    seen: int = 0  # how many remarks its thread had when it was made
    thread: str = ""  # of a conversation comment: the thread that it replies to


def mark(
    marker: str, resolve: bool = False, quiet: bool = False, *, reopen: bool = False, seen: int = 0, thread: str = ""
) -> str:
    """Return the line that a remark of ours ends in; `marked` reads it back.

    `seen` and `reopen` are the note's. `thread` is needed where GitHub keeps no replies: in conversation comments.
    """
    said = [quote(marker, safe=":._/-")]
    said += [word for word, is_so in (("resolve", resolve), ("quiet", quiet), ("reopen", reopen)) if is_so]
    said += [f"seen={seen}"] if seen else []
    said += [f"thread={quote(thread, safe='._-')}"] if thread else []
    return f"<!-- claudetm {' '.join(said)} -->"


def marked(body: str) -> Mark | None:
    """Return what a body's last line says of it, or None: it has no marker of ours."""
    if (found := _MARK.search(_plain(body))) is None:
        return None
    marker, *words = found["said"].split(" ")
    told = dict(word.split("=", 1) for word in words if "=" in word)
    seen = int(told["seen"]) if told.get("seen", "").isdecimal() else 0
    thread = unquote(told.get("thread", ""))
    return Mark(unquote(marker), "resolve" in words, "quiet" in words, "reopen" in words, seen, thread)


def bare(body: str) -> str:
    """Return a body without its marker."""
    return _MARK.sub("", _plain(body)).rstrip()


def _plain(body: str) -> str:
    return body.replace("\r\n", "\n")


# --- who speaks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Author:
    """Who said something. A bot's name ends in "[bot]", as in REST; GraphQL leaves that out."""

    name: str
    kind: str  # User, Bot, Mannequin, Organization; "" for a deleted account
    association: str = "NONE"

    @property
    def person(self) -> bool:
        """Whether it is an account of a person."""
        return self.kind == "User"


def author(said: Mapping[str, Any]) -> Author:
    """Return who wrote a review or a remark."""
    association = said.get("authorAssociation") or "NONE"
    return Author(*named(said.get("author")), association)


def named(actor: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the name and the kind of an account; of one that was deleted, ghost and ""."""
    if not actor:
        return GHOST, ""
    name, kind = str(actor["login"]), str(actor.get("__typename") or "")
    return (f"{name}[bot]" if kind == "Bot" and not name.endswith("[bot]") else name), kind


def same(one: str, other: str) -> bool:
    """Whether two names are of one account."""
    return one.casefold() == other.casefold()


Hears = Callable[[Author], bool]
"""Whether somebody is listened to, by right or by name."""


# --- what was said ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Talk:
    """All that was said about a pull request and counts. The fields are those of `Pull` of the same names."""

    threads: tuple[Thread, ...] = ()
    replies: Mapping[str, int] = field(default_factory=dict)
    resolvable: frozenset[str] = frozenset()
    shut: frozenset[str] = frozenset()
    pending: bool = False
    quoted: Mapping[str, str] = field(default_factory=dict)
    markers: Mapping[str, str] = field(default_factory=dict)
    approved: tuple[str, ...] = ()
    objections: tuple[str, ...] = ()
    opposed: tuple[str, ...] = ()  # who asks for changes and is not listened to
    unheard: tuple[str, ...] = ()
    ignored: tuple[Thread, ...] = ()  # what was said and does not count, for a person to look at


def talk(data: Mapping[str, Any], me: str, hears: Hears) -> Talk:
    """Return what was said about a pull request: `data` has GraphQL's reviewThreads, reviews and comments, whole.

    `me` is the account of the token, with "[bot]" if it is an app's.
    """
    listening = _Listening(me, hears)
    begun = [t for t in map(listening.on_a_line, data["reviewThreads"]["nodes"]) if t]
    reviews = [r for r in data["reviews"]["nodes"] if r["state"] != "PENDING"]
    approved, objections, opposed = _opinions(reviews, listening)
    begun += listening.at_large(reviews, data["comments"]["nodes"])
    begun.sort(key=lambda t: t.at)
    return Talk(
        tuple(t.thread for t in begun),
        {t.thread.id: t.reply for t in begun if t.reply},
        frozenset(t.thread.id for t in begun if t.resolvable),
        frozenset(t.thread.id for t in begun if t.shut),
        any(r["state"] == "PENDING" and same(author(r).name, me) for r in data["reviews"]["nodes"]),
        {t.thread.id: t.url for t in begun if t.url},
        listening.markers,
        approved,
        objections,
        opposed,
        tuple(listening.unheard),
        tuple(listening.ignored.values()),
    )


@dataclass(frozen=True, slots=True)
class _Remark:
    """A remark that counts. `key` orders: its time, to the second, and then GitHub's count."""

    said: Comment
    who: Author
    at: str
    mark: Mark | None  # of one that is ours
    id: int
    url: str

    @property
    def key(self) -> tuple[str, int]:
        return self.at, self.id


@dataclass(frozen=True, slots=True)
class _Begun:
    """A thread, when it began, and how it is replied to."""

    thread: Thread
    at: str
    reply: int = 0
    resolvable: bool = False
    shut: bool = False
    url: str = ""


class _Listening:
    """One way through a pull request's remarks: sorts what counts from what does not, and notes who is not heard."""

    def __init__(self, me: str, hears: Hears) -> None:
        self.me = me
        self.hears = hears
        self.markers: dict[str, str] = {}
        self.unheard: dict[str, None] = {}
        self.ignored: dict[str, Thread] = {}

    def ours(self, said: Mapping[str, Any]) -> Mark | None:
        """Return the marker of a remark of ours, or None."""
        return marked(said["body"] or "") if same(author(said).name, self.me) else None

    def heard(self, said: Mapping[str, Any], *, bots: bool) -> _Remark | None:
        """Return a remark if it counts. `bots`: whether those of bots do here that are named."""
        who, found = author(said), self.ours(said)
        if said["isMinimized"] and found is None:
            return None  # what we said was said, whoever hides it
        if found is None and not self.hears(who):
            self.unheard[who.name] = None
            self._ignore(said, who)
            return None
        if found is None and not who.person and not bots:
            self._ignore(said, who)
            return None
        body = _plain(said["body"] or "")
        if found is not None:
            body = bare(body)
            body = _QUOTE.sub("", body) if found.thread else body
        at = said.get("createdAt") or said.get("submittedAt") or ""
        remark = Comment(who.name, _bounded(body), ours=found is not None)
        return _Remark(remark, who, at, found, number(said), said["url"])

    def _ignore(self, said: Mapping[str, Any], who: Author) -> None:
        """Keep a remark that does not count where only people see it."""
        if (body := _plain(said["body"] or "")).strip():
            name = f"remark-{number(said)}"
            self.ignored[name] = Thread(name, (Comment(who.name, _bounded(body)),), unanswered=False, blocking=False)

    # review threads

    def on_a_line(self, data: Mapping[str, Any]) -> _Begun | None:
        """Return a review's thread, or None: nothing in it counts."""
        all_of_it = [c for c in data["comments"]["nodes"] if c["state"] != "PENDING"]
        remarks = sorted(filter(None, (self.heard(c, bots=True) for c in all_of_it)), key=lambda r: r.key)
        for remark in remarks:
            self._mark(remark, data["id"])
        if all_of_it and self.ours(all_of_it[0]) is None:
            # a reply of ours to somebody who is not listened to any more begins nothing
            remarks = remarks[next((i for i, r in enumerate(remarks) if not r.mark), len(remarks)) :]
        if not remarks:
            return None
        line = data["line"] or data["originalLine"] or 0
        thread = _folded(data["id"], remarks, data["path"], line)
        thread = replace(thread, resolved=data["isResolved"] and not self._spoken_since(data, remarks))
        shut = bool(data["isResolved"]) and not thread.resolved
        return _Begun(thread, remarks[0].at, number(all_of_it[0]), bool(data["viewerCanResolve"]), shut)

    def _spoken_since(self, data: Mapping[str, Any], remarks: Sequence[_Remark]) -> bool:
        """Whether a person has spoken in a thread after we closed it. What a bot says then asks for nothing."""
        closed = [i for i, r in enumerate(remarks) if r.mark and r.mark.resolve]
        by = data["resolvedBy"]
        if not closed or not by or not same(by["login"].removesuffix("[bot]"), self.me.removesuffix("[bot]")):
            return False
        return any(not r.mark and r.who.person for r in remarks[closed[-1] + 1 :])

    # what GitHub keeps no threads for

    def at_large(self, reviews: Sequence[Mapping[str, Any]], comments: Sequence[Mapping[str, Any]]) -> list[_Begun]:
        """Return the bodies of reviews and the conversation's comments as threads, with our replies in them."""
        begun: dict[str, _Remark] = {}
        replies: list[_Remark] = []
        for review in reviews:
            if review["state"] in {"COMMENTED", "CHANGES_REQUESTED"} and (review["body"] or "").strip():
                remark = self.heard(review, bots=False)
                begun |= {f"review-{remark.id}": remark} if remark else {}
        for comment in comments:
            remark = self.heard(comment, bots=False)
            if remark and remark.mark and remark.mark.thread:
                replies.append(remark)
            elif remark:
                begun[f"comment-{remark.id}"] = remark
        for name, remark in begun.items():
            self._mark(remark, name)
        for reply in replies:
            self._mark(reply, reply.mark.thread if reply.mark else "")
        words = self._words(reviews, comments)
        return [_large(name, remark, replies, words) for name, remark in begun.items()]

    def _words(self, reviews: Iterable[Mapping[str, Any]], comments: Iterable[Mapping[str, Any]]) -> list[_Word]:
        """Return who spoke, and when; we ourselves never do."""
        said = [
            _Word(author(r).name, f"review-{number(r)}", r["submittedAt"] or "", number(r), r["state"] == "APPROVED")
            for r in reviews
            if self.ours(r) is None
        ]
        said += [
            _Word(author(c).name, f"comment-{number(c)}", c["createdAt"], number(c), approves=False)
            for c in comments
            if self.ours(c) is None and not c["isMinimized"]
        ]
        return said

    def _mark(self, remark: _Remark, thread: str) -> None:
        if remark.mark:
            self.markers[remark.mark.marker] = thread


@dataclass(frozen=True, slots=True)
class _Word:
    """That somebody spoke, with whatever words: a review may have none."""

    name: str
    thread: str
    at: str
    id: int
    approves: bool

    def after(self, other: _Remark, kind: str) -> bool:
        """Whether it was said later than a remark of a kind: within a second, only what is counted together tells."""
        return self.at > other.at or (self.at == other.at and self.thread.startswith(kind) and self.id > other.id)


def _large(name: str, first: _Remark, replies: Sequence[_Remark], words: Iterable[_Word]) -> _Begun:
    """Return the thread of what can be closed nowhere: the words of whoever began it close it."""
    ours = sorted((r for r in replies if r.mark and r.mark.thread == name), key=lambda r: r.key)
    thread = _folded(name, [first, *ours])
    later = [w for w in words if same(w.name, first.who.name) and w.after(first, name.partition("-")[0])]
    if not first.mark and any(w.approves or (ours and w.after(ours[-1], "comment")) for w in later):
        thread = replace(thread, blocking=False)
    return _Begun(thread, first.at, url=first.url)


def _folded(name: str, remarks: Sequence[_Remark], path: str = "", line: int = 0) -> Thread:
    """Return the thread that remarks make, one after the other."""
    first, *rest = remarks
    asks = first.mark is None or not first.mark.quiet
    thread = Thread(name, (first.said,), path, line, unanswered=asks, blocking=asks)
    for remark in rest:
        known = remark.mark or Mark("")
        thread = thread.with_reply(remark.said, resolve=known.resolve, seen=known.seen, reopen=known.reopen)
    return thread


def _opinions(
    reviews: Iterable[Mapping[str, Any]], listening: _Listening
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return who approves, who asks for changes, and who does that and is not listened to, by their last verdicts."""
    latest: dict[str, tuple[Author, str]] = {}
    for review in sorted(reviews, key=lambda r: (r["submittedAt"] or "", number(r))):
        who = author(review)
        if review["state"] in _OPINIONS and listening.ours(review) is None:
            latest.pop(who.name, None)
            latest[who.name] = who, review["state"]
    heard = {who.name: state for who, state in latest.values() if who.person and listening.hears(who)}
    for who, state in latest.values():
        if not listening.hears(who) and state != "DISMISSED":
            listening.unheard[who.name] = None
    against = [name for name, (_, state) in latest.items() if state == "CHANGES_REQUESTED"]
    return (
        tuple(name for name, state in heard.items() if state == "APPROVED"),
        tuple(name for name in against if name in heard),
        tuple(name for name in against if name not in heard),
    )


def withheld(data: Mapping[str, Any], heard: Talk) -> str:
    """Return what GitHub says people owe a pull request beside what those who are listened to ask for, or ""."""
    if heard.pending:
        return f"a review of yours is not submitted, and GitHub takes no reply meanwhile: end it at {data['url']}"
    if data["isDraft"]:
        return "it is a draft"
    match data["reviewDecision"]:
        case "REVIEW_REQUIRED":
            return f"a review is required by the rules of {data['baseRefName']}"
        case "CHANGES_REQUESTED" if not heard.objections:
            return f"{', '.join(heard.opposed) or 'somebody'} asked for changes, and GitHub counts that"
        case _:
            return ""


def number(said: Mapping[str, Any]) -> int:
    """Return the id that REST knows a remark by."""
    return int(said["fullDatabaseId"] or 0)


def _bounded(body: str) -> str:
    return body if len(body) <= MOST else f"{body[: MOST - 1]}…"
