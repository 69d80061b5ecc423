"""A merge on GitHub: of exactly the head that was tested, never over a person, never over a rule. All of it blocks.

Each refusal is looked behind first: what somebody did in the last moment tells more than GitHub's sentence about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never
from urllib.parse import quote

from claudetm.adapters.forge.github.client import GithubClient, GithubRefused
from claudetm.adapters.forge.github.once import Once
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Mergeable, Pull
from claudetm.adapters.forge.github.reading import Reading
from claudetm.ports.forge import (
    BaseChanged,
    HeadChanged,
    MergeConflict,
    MergeDone,
    MergeOutcome,
    MergeQueuedUp,
    MergeRefused,
    NotYet,
    Opposed,
)
from claudetm.workflow.pull_request import CheckState, PullRequestState

METHODS: Final = ("merge", "squash", "rebase")
PATIENCE: Final = 1800.0
"""Seconds for which "not yet" is believed of one head; then it is a refusal: a check may never report."""

BLOCKED_FOR: Final = 300.0
"""Seconds for which BLOCKED may be what GitHub worked out before the last check, of one whose token may override."""

_BLOCKED: Final = "BLOCKED"  # by what is not seen here, where all that is seen is satisfied

_ENQUEUE: Final = """mutation EnqueuePullRequest($pull: ID!, $head: GitObjectID!) {
  enqueuePullRequest(input: {pullRequestId: $pull, expectedHeadOid: $head}) { mergeQueueEntry { id } } }"""
_DEQUEUE: Final = """mutation DequeuePullRequest($pull: ID!) {
  dequeuePullRequest(input: {id: $pull}) { mergeQueueEntry { id } } }"""
_AUTOMATIC: Final = """mutation EnableAutoMerge($pull: ID!, $head: GitObjectID!, $method: PullRequestMergeMethod!,
    $title: String, $body: String) {
  enablePullRequestAutoMerge(input: {pullRequestId: $pull, expectedHeadOid: $head, mergeMethod: $method,
    commitHeadline: $title, commitBody: $body}) { pullRequest { id } } }"""
_NOT_AUTOMATIC: Final = """mutation DisableAutoMerge($pull: ID!) {
  disablePullRequestAutoMerge(input: {pullRequestId: $pull}) { pullRequest { id } } }"""
_OVERRIDES: Final = """query Overrides($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) { viewerCanMergeAsAdmin } } }"""

_RULES: Final = (
    (r"review|approv|code owner|comments? must be resolved|conversation", "pull_request"),
    (r"signature|signed", "required_signatures"),
    (r"status check", "required_status_checks"),
    (r"linear|merge commits", "required_linear_history"),
    (r"deploy", "required_deployments"),
    (r"code scanning", "code_scanning"),
    (r"workflow", "workflows"),
)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FENCED: Final = re.compile(r"^(?P<fence>```+|~~~+).*?(?:^(?P=fence)|\Z)", re.DOTALL | re.MULTILINE)
_BOX: Final = re.compile(r"^[ \t]*[-*+] \[ \].*(?:\n|\Z)", re.MULTILINE)
_EMPTY: Final = re.compile(r"^(?P<level>#{1,6})[ \t].*(?:\n|\Z)\s*(?=\Z|(?!(?P=level)#)#{1,6}[ \t])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be merged. `lacking`: a change of this run was merged that the head does not contain."""

    number: int
    head: str
    base: str
    method: str
    target: str
    lacking: bool = False


class GithubMerging:
    """Merges the pull requests of one repository."""

    def __init__(
        self,
        client: GithubClient,
        hosted: Hosted,
        reading: Reading,
        once: Once,
        remember: Callable[[int, str], None],
        faults: Callable[[str], None],
    ) -> None:
        """Take what asks GitHub, where, how it is read, and what writes down that a head is to be merged."""
        self._client = client
        self._hosted = hosted
        self._at = f"/repos/{hosted.repository}"
        self._reading = reading
        self._once = once
        self._remember = remember
        self._faults = faults
        self._undecided: dict[tuple[int, str], float] = {}  # (number, head) -> since when
        self._blocked: dict[tuple[int, str], float] = {}

    def merge(self, wish: Wish) -> MergeOutcome:
        """Merge, or say what is in the way."""
        outcome = self._merge(wish)
        if not isinstance(outcome, NotYet):
            self._undecided.pop((wish.number, wish.head), None)
            return outcome
        since = self._undecided.setdefault((wish.number, wish.head), self._once.clock())
        if self._once.clock() - since < PATIENCE:
            return outcome
        del self._undecided[wish.number, wish.head]
        url = self._reading.pull(wish.number).url
        return MergeRefused(
            f"{outcome.reason}, for {PATIENCE / 60:.0f} minutes now", f"look at {url}, then claudetm resume"
        )

    def _merge(self, wish: Wish) -> MergeOutcome:
        pull = self._settled(wish.number)
        if (way := self._in_the_way(pull, wish)) is not None:
            return way
        if pull.queue:
            return self._enqueue(pull, wish)
        if pull.status == _BLOCKED and pull.may_auto_merge:
            if self._merges_later(pull, wish):
                return MergeQueuedUp()
            pull = self._settled(wish.number)
            if (way := self._in_the_way(pull, wish)) is not None:
                return way
        if pull.status == _BLOCKED and self._could_override(pull):
            return self._blocked_yet(pull)
        self._blocked.pop((pull.number, pull.head), None)
        return self._put(pull, wish)

    def _in_the_way(self, pull: Pull, wish: Wish) -> MergeOutcome | None:
        """Return what a look shows; with something in the way, it is not for nothing that it is BLOCKED."""
        way = in_the_way(pull, wish)
        if way is not None:
            self._blocked.pop((wish.number, wish.head), None)
        return way

    def _blocked_yet(self, pull: Pull) -> NotYet | MergeRefused:
        """Return what BLOCKED is, where all that is seen is satisfied: not worked out anew yet, and then a rule."""
        since = self._blocked.setdefault((pull.number, pull.head), self._once.clock())
        if self._once.clock() - since < BLOCKED_FOR:
            return NotYet(f"GitHub still tells that #{pull.number} is blocked, though nothing that is seen blocks it")
        del self._blocked[pull.number, pull.head]
        return self._explained(pull, "something that it requires is missing")

    def _settled(self, number: int) -> Pull:
        """Return the pull request as it is now, read again while GitHub works out whether it can be merged."""
        pull = self._reading.pull(number)

        def look() -> Pull | None:
            nonlocal pull
            pull = self._reading.pull(number)
            return pull if _known(pull) else None

        return pull if _known(pull) else self._once.found(look) or pull

    # ways to merge

    def _put(self, pull: Pull, wish: Wish) -> MergeOutcome:
        body: dict[str, Any] = {"sha": wish.head, "merge_method": wish.method}
        if wish.method == "squash":
            title, text = squashed(pull)
            body |= {"commit_title": title, "commit_message": text}
        self._remember(wish.number, wish.head)
        self._faults(f"merge:before:{wish.number}")
        try:
            commit = self._once.write(
                lambda: str(self._client.write("PUT", f"{self._at}/pulls/{wish.number}/merge", body)["sha"]),
                lambda: self._reading.pull(wish.number).merge_commit or None,
            )
        except GithubRefused as refused:
            return self._refused(wish, refused)
        self._faults(f"merge:after:{wish.number}")
        return MergeDone(commit)

    def _enqueue(self, pull: Pull, wish: Wish) -> MergeOutcome:
        self._remember(wish.number, wish.head)
        self._faults(f"enqueue:before:{wish.number}")
        try:
            self._once.write(
                lambda: bool(self._client.mutate(_ENQUEUE, pull=pull.id, head=wish.head)),
                lambda: self._handed_over(wish.number) or None,
            )
        except GithubRefused as refused:
            again = self._settled(wish.number)
            return in_the_way(again, wish) or self._explained(again, refused.message)
        self._faults(f"enqueue:after:{wish.number}")
        return MergeQueuedUp()

    def _merges_later(self, pull: Pull, wish: Wish) -> bool:
        """Have GitHub merge it once it may; False where it does not take that on."""
        title, text = squashed(pull) if wish.method == "squash" else (None, None)
        self._remember(wish.number, wish.head)
        self._faults(f"auto-merge:before:{wish.number}")

        def send() -> bool:
            how = {"method": wish.method.upper(), "title": title, "body": text}
            return bool(self._client.mutate(_AUTOMATIC, pull=pull.id, head=wish.head, **how))

        try:
            self._once.write(send, lambda: self._handed_over(wish.number) or None)
        except GithubRefused:  # not allowed here, or in a clean state by now: the merge itself tells
            return False
        self._faults(f"auto-merge:after:{wish.number}")
        return True

    def _handed_over(self, number: int) -> bool:
        pull = self._reading.pull(number)
        return pull.queued or bool(pull.auto_merge) or pull.state is PullRequestState.MERGED

    def take_back(self, pull: Pull) -> None:
        """Have GitHub no longer merge it by itself."""
        mutation = _DEQUEUE if pull.queued else _NOT_AUTOMATIC

        def look() -> bool | None:
            now = self._reading.pull(pull.number)
            return None if now.queued or now.auto_merge else True

        self._faults(f"take-back:before:{pull.number}")
        try:
            self._once.write(lambda: bool(self._client.mutate(mutation, pull=pull.id)), look)
        except GithubRefused:
            if self._once.found(look) is None:
                raise

    # refusals

    def _refused(self, wish: Wish, refused: GithubRefused) -> MergeOutcome:
        pull = self._settled(wish.number)
        if (way := in_the_way(pull, wish)) is not None:
            return way
        said = refused.message.casefold()
        if "merge queue" in said:
            return self._enqueue(pull, wish)
        if re.search(r"(merge|squash|rebase) (commits|merges) are not allowed|merge method", said):
            return self._method_refused(wish, pull)
        if refused.status == 401:  # noqa: PLR2004 - Unauthorised
            raise refused
        if refused.status in {403, 404}:  # of the token, not of the pull request
            return MergeRefused(str(refused))
        passing = ("base branch was modified", "status check", "try the merge again", "is not mergeable")
        if refused.status == 409 or any(p in said for p in passing):  # noqa: PLR2004 - Conflict
            return NotYet(f"GitHub does not merge it yet: {_line(refused.message)}")
        if "can't be rebased" in said or "cannot be rebased" in said:
            return MergeRefused(
                f"GitHub cannot rebase #{wish.number}",
                "claudetm config set merge.method squash (or merge), then claudetm resume",
            )
        return self._explained(pull, refused.message)

    def _method_refused(self, wish: Wish, pull: Pull) -> MergeRefused:
        about = self._client.get(self._at)
        asked = [r.get("parameters") or {} for r in self._rules(pull.target) if r["type"] == "pull_request"]
        limits = [p["allowed_merge_methods"] for p in asked if p.get("allowed_merge_methods")]
        keys = {"merge": "allow_merge_commit", "squash": "allow_squash_merge", "rebase": "allow_rebase_merge"}
        free = [m for m in METHODS if about.get(keys[m]) is not False and all(m in limit for limit in limits)]
        free = [m for m in free if m != wish.method]
        return MergeRefused(
            f"{self._hosted.repository} does not allow {wish.method} as merge method"
            + (f", but {' and '.join(free)}" if free else ""),
            f"claudetm config set merge.method {free[0] if free else 'merge'}, then claudetm resume",
        )

    def _explained(self, pull: Pull, message: str) -> MergeRefused:
        """Return the refusal with the rule that it comes from."""
        return MergeRefused(
            f"GitHub does not let #{pull.number} be merged: {_line(message)}; {self._source(pull.target, message)}"
            " asks for that, and protection is never overridden",
            f"look at {pull.url}, then claudetm resume",
        )

    def _source(self, target: str, message: str) -> str:
        """Return what asks for what the message names: rulesets by name, else the branch's protection."""
        rules = self._rules(target)
        kinds = [kind for words, kind in _RULES if re.search(words, message, re.IGNORECASE)]
        ids = [r["ruleset_id"] for r in rules if r.get("ruleset_id") and (not kinds or r["type"] in kinds)]
        names = [self._ruleset(n).get("name") or str(n) for n in dict.fromkeys(ids)]
        if not names:
            return f"the protection of {target}"
        return f"the ruleset{'s' if len(names) > 1 else ''} {', '.join(f'“{n}”' for n in names)} of {target}"

    def _rules(self, target: str) -> Sequence[Mapping[str, Any]]:
        try:
            return self._client.pages(f"{self._at}/rules/branches/{quote(target, safe='')}")
        except GithubRefused:
            return ()

    def _ruleset(self, number: int) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._client.get(f"{self._at}/rulesets/{number}")
        except GithubRefused:
            return {}
        return found

    def _could_override(self, pull: Pull) -> bool:
        """Whether the token's account may merge past the rules: then asking for a plain merge would do just that."""
        owner, name = self._hosted.owner, self._hosted.name
        data, errors = self._client.graphql(_OVERRIDES, owner=owner, name=name, number=pull.number)
        found = ((data or {}).get("repository") or {}).get("pullRequest") or {}
        if errors or found.get("viewerCanMergeAsAdmin") is not False:
            return True
        ids = dict.fromkeys(r["ruleset_id"] for r in self._rules(pull.target) if r.get("ruleset_id"))
        return any(self._ruleset(n).get("current_user_can_bypass", "never") != "never" for n in ids)


def in_the_way(pull: Pull, wish: Wish) -> MergeOutcome | None:
    """Return what a look shows: merged already, somebody came between, or not to be merged now; None for nothing."""
    match pull.state:
        case PullRequestState.MERGED:
            return MergeDone(pull.merge_commit)
        case PullRequestState.CLOSED:
            return Opposed()
        case PullRequestState.OPEN:
            pass
        case _:
            assert_never(pull.state)
    if not pull.branch_there or pull.target != wish.target or opposed(pull):
        return Opposed()
    if pull.head != wish.head:
        return HeadChanged(pull.head)
    if Mergeable.CONFLICTING in (pull.mergeable, pull.status) or pull.status == "DIRTY":
        return MergeConflict()
    if wish.base and (wish.lacking or pull.status == "BEHIND"):
        return BaseChanged(pull.base)
    if pull.queued or pull.auto_merge:
        return MergeQueuedUp()
    if Mergeable.UNKNOWN in (pull.mergeable, pull.status):
        return NotYet(f"GitHub has not worked out yet whether #{pull.number} can be merged")
    required = any(c.required for c in pull.checks)  # where none is, all count
    due = [c.name for c in pull.checks if c.required is required and c.state is not CheckState.PASSED]
    what = "a required check" if required else "a check"
    return NotYet(f"{what} has not passed: {', '.join(due)}") if due else None


def _known(pull: Pull) -> bool:
    return pull.state is not PullRequestState.OPEN or Mergeable.UNKNOWN not in (pull.mergeable, pull.status)


def opposed(pull: Pull) -> bool:
    """Whether a person is in the way: by an objection, a conversation that stands, or what rules ask of people."""
    return bool(pull.objections or pull.withheld) or any(t.stands for t in pull.threads)


def squashed(pull: Pull) -> tuple[str, str]:
    """Return title and text of the one commit that it becomes: the description without what only its form needs.

    Hidden comments, boxes that nobody ticked and headings with nothing below are a template's: no part of a history.
    """
    blocks: list[str] = []  # of code, in which nothing is a heading

    def put_aside(block: re.Match[str]) -> str:
        blocks.append(block[0])
        return f"\0{len(blocks) - 1}\0"

    text = _FENCED.sub(put_aside, pull.body.replace("\r\n", "\n").replace("\0", ""))
    text = _BOX.sub("", _COMMENT.sub("", text))
    while (shorter := _EMPTY.sub("", text)) != text:
        text = shorter
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    text = re.sub("\0(\\d+)\0", lambda found: blocks[int(found[1])], text)
    title = pull.title.removesuffix(f"(#{pull.number})").rstrip()
    return f"{title} (#{pull.number})", text


def _line(message: str) -> str:
    return " ".join(message.split()).rstrip(".")
