"""What Sego's answers hold, as far as it is read. Fields that are not named here pass; wrong types do not."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

BACKLOG: Final = "BACKLOG"
IN_PROGRESS: Final = "IN_PROGRESS"
IN_REVIEW: Final = "IN_REVIEW"
OPEN: Final = "OPEN"
ANALYSED: Final = "ANALYSED"
WAITING: Final = "WAITING"


def _id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _segment(value: str) -> str:
    if value in {".", ".."} or _utf8(value) != value:
        raise ValueError("an id that no address can hold")
    return value


def _text(value: Any) -> Any:
    return "" if value is None else value


def _utf8(value: str) -> str:
    """Return a text that can be written down: JSON can hold halves of characters, and NUL."""
    return value.encode(errors="replace").decode().replace("\0", "\ufffd")


Id = Annotated[str, BeforeValidator(_id), Field(min_length=1, max_length=200), AfterValidator(_segment)]
Text = Annotated[str, BeforeValidator(_text), AfterValidator(_utf8)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
When = Annotated[AwareDatetime, Field(strict=False)]  # in JSON a time is a string


class Shape(BaseModel):
    """Camel case there, snake case here."""

    model_config = ConfigDict(strict=True, extra="ignore", alias_generator=to_camel, frozen=True)


class Person(Shape):
    """Whoever wrote something, or whose key it is."""

    id: Id
    name: Text = ""


class AutoTask(Shape):
    """Whether tasks of a project are taken by themselves, and from which AI confidence."""

    enabled: bool
    threshold: Share


class Project(Shape):
    """A project as the key sees it."""

    id: Id
    name: Text = ""
    description: Text = ""
    auto_task: AutoTask


class Held(Shape):
    """What somebody can be at work on."""

    id: Id
    project_id: Id
    status: str
    created_at: When | None = None
    updated_at: When | None = None
    claimed_by: str | None = None

    @property
    def created(self) -> float:
        """Return when it came, seconds since the epoch; 0 where nobody knows."""
        return epoch(self.created_at)


class Task(Held):
    """A task of a project."""

    title: Text = ""
    description: Text = ""
    ai_confidence: Share | None = None


class Comment(Shape):
    """A remark on a task."""

    id: Id
    text: Text = ""
    author: Person | None = None
    created_at: When | None = None


class ClientRequest(Held):
    """What a client asked for. `analysis` is there once somebody has posted one."""

    title: Text = ""
    text: Text = ""
    analysis: dict[str, Any] | None = None


class Message(Shape):
    """One word of a conversation; `reply_to` names the message that an assistant's answers."""

    id: Id
    role: str  # client or assistant; what else there is, somebody of the project wrote
    text: Text = ""
    reply_to: Id | None = None
    created_at: When | None = None


class Conversation(Held):
    """A talk with a client. `last_message_id` is the client's message that waits, where one does."""

    title: Text = ""
    last_message_id: Id | None = None


def epoch(when: datetime | None) -> float:
    """Return a time as seconds since the epoch, 0 for none."""
    return when.timestamp() if when else 0.0
