"""What a Sego server knows: projects, tasks, comments, client requests, conversations. All of it in memory.

Every change of a project's things is an event of its stream, with an id, so that none is missed by who comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Item = dict[str, Any]


class Moved(Exception):  # noqa: N818 - a fact about what was asked to be moved
    """It is not in the status that the request expects."""


@dataclass
class Sandbox:
    """One server. What it keeps, checks and knows can be less than what is assumed."""

    key: str = "sandbox"
    keeps_claims: bool = True  # whether `claimedBy` is a field there
    checks_status: bool = True  # whether `expectedStatus` is minded
    knows_repeats: bool = True  # whether `Idempotency-Key` is minded
    heartbeat: float = 15.0  # seconds between two comments in a stream
    projects: dict[str, Item] = field(default_factory=dict)
    tasks: dict[str, Item] = field(default_factory=dict)
    comments: dict[str, list[Item]] = field(default_factory=dict)
    progress: dict[str, list[Item]] = field(default_factory=dict)
    requests: dict[str, Item] = field(default_factory=dict)
    conversations: dict[str, Item] = field(default_factory=dict)
    messages: dict[str, list[Item]] = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)  # (project, event, id), an event's id its place
    done: dict[tuple[str, str], tuple[int, Item]] = field(default_factory=dict)  # by path and idempotency key
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Last-Event-ID
    _now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _listening: set[asyncio.Event] = field(default_factory=set)

    def now(self) -> str:
        """Return a time that is later than all before it."""
        self._now = max(datetime.now(UTC), self._now + timedelta(microseconds=1))
        return self._now.isoformat()

    def add_project(self, id_: str, *, enabled: bool = True, threshold: float = 0.85, **more: Any) -> Item:
        """Add a project."""
        self.projects[id_] = {
            "id": id_,
            "name": id_,
            "description": "",
            "autoTask": {"enabled": enabled, "threshold": threshold},
            **more,
        }
        return self.projects[id_]

    def add_task(self, project: str, id_: str = "", **more: Any) -> Item:
        """Add a task to a project's backlog."""
        task = self._new(project, id_ or f"{len(self.tasks) + 1}", "BACKLOG")
        task |= {"title": "", "description": "", "aiConfidence": 0.9, **more}
        self.tasks[task["id"]] = task
        self.comments[task["id"]], self.progress[task["id"]] = [], []
        self.tell(project, "task", task["id"])
        return task

    def add_comment(self, task: str, text: str, author: str = "you") -> Item:
        """Comment on a task."""
        comment = {
            "id": f"k{sum(map(len, self.comments.values())) + 1}",
            "text": text,
            "author": {"id": author, "name": author},
            "createdAt": self.now(),
        }
        self.comments[task].append(comment)
        self.tasks[task]["updatedAt"] = comment["createdAt"]
        return comment

    def add_request(self, project: str, text: str, id_: str = "", **more: Any) -> Item:
        """Let a client ask for something."""
        request = self._new(project, id_ or f"r{len(self.requests) + 1}", "OPEN")
        request |= {"title": "", "text": text, "analysis": None, **more}
        self.requests[request["id"]] = request
        self.tell(project, "client-request", request["id"])
        return request

    def add_message(self, project: str, text: str, conversation: str = "") -> Item:
        """Let a client write, in a conversation that is there or in a new one."""
        id_ = conversation or f"c{len(self.conversations) + 1}"
        if id_ not in self.conversations:
            self.conversations[id_] = self._new(project, id_, "WAITING") | {"title": "", "lastMessageId": None}
            self.messages[id_] = []
        talk, message = self.conversations[id_], self._message(id_, "client", text)
        talk["lastMessageId"] = message["id"]
        if talk["status"] == "ANSWERED":
            talk |= {"status": "WAITING", "claimedBy": None}
        self.tell(project, "conversation", id_)
        return message

    def move(self, item: Item, asked: Mapping[str, Any]) -> Item:
        """Move something from one status to another. Raises Moved."""
        if self.checks_status and asked.get("expectedStatus", item["status"]) != item["status"]:
            raise Moved
        item["status"] = asked["status"]
        if asked["status"] == "OPEN":
            item["analysis"] = None
        if self.keeps_claims and "claimedBy" in asked:
            item["claimedBy"] = asked["claimedBy"]
        item["updatedAt"] = self.now()
        return item

    def analyse(self, request: Item, answer: Item) -> Item:
        """Keep the analysis of a client request. Raises Moved where there is one."""
        if request["analysis"] is not None:
            raise Moved
        request |= {"analysis": answer, "status": "ANALYSED", "updatedAt": self.now()}
        return request

    def reply(self, conversation: str, answer: Mapping[str, Any]) -> Item:
        """Answer a message; what the client has written since waits."""
        talk = self.conversations[conversation]
        message = self._message(conversation, "assistant", answer["text"], answer["replyTo"])
        if talk["lastMessageId"] == answer["replyTo"]:
            talk |= {"status": "ANSWERED", "lastMessageId": None}
        else:
            talk |= {"status": "WAITING", "claimedBy": None}
            self.tell(talk["projectId"], "conversation", conversation)
        return message

    def tell(self, project: str, event: str, id_: str) -> None:
        """Put an event into a project's stream."""
        self.events.append((project, event, id_))
        for each in self._listening:
            each.set()

    def listen(self) -> asyncio.Event:
        """Return what is set at every event from now on."""
        self._listening.add(event := asyncio.Event())
        return event

    def forget(self, event: asyncio.Event) -> None:
        """Let go of a listener that has gone."""
        self._listening.discard(event)

    def _new(self, project: str, id_: str, status: str) -> Item:
        now = self.now()
        item = {"id": id_, "projectId": project, "status": status, "createdAt": now, "updatedAt": now}
        return {**item, "claimedBy": None} if self.keeps_claims else item

    def _message(self, conversation: str, role: str, text: str, reply_to: str | None = None) -> Item:
        there = self.messages[conversation]
        message = {"id": f"m{len(there) + 1}", "role": role, "text": text, "createdAt": self.now()}
        message["replyTo"] = reply_to  # type: ignore[assignment]
        there.append(message)
        return message
