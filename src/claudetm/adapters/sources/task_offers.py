"""What a file in the folder of tasks is offered as: a task, or the sentence that says what is wrong with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import assert_never

from claudetm.adapters.sources.task_document import Document, Flaw
from claudetm.adapters.sources.task_file import Unsettled
from claudetm.adapters.sources.task_folder import WRITTEN, Waiting
from claudetm.ports.source import Offer


def offered(waiting: Waiting, base: Path) -> Offer:
    """Return the offer that a file makes. A `repository` in it is relative to `base`."""
    match waiting.state:
        case Unsettled():
            return Offer(waiting.id, created=waiting.created, why_not=f"{waiting.name}: {WRITTEN}")
        case Flaw() as flaw:
            return Offer(waiting.id, created=waiting.created, why_not=flaw.of(waiting.name))
        case Document() as document:
            amiss = repository_flaw(document, base)
            why = amiss.of(waiting.name) if amiss is not None else ""
            return Offer(waiting.id, document.title, waiting.created, document.priority, why_not=why)
        case other:
            assert_never(other)


def repository_flaw(document: Document, base: Path) -> Flaw | None:
    """Return what is wrong with the repository: not a matter of the text, so it is looked for each time."""
    if not document.repository or (found := repository_of(document, base)).is_dir():
        return None
    return Flaw(f"the repository {found} is no folder", document.lines["repository"])


def repository_of(document: Document, base: Path) -> Path:
    """Return where the document is to be worked."""
    path = Path(document.repository)
    with suppress(RuntimeError):  # of a person who has no home
        path = path.expanduser()
    return base / path
