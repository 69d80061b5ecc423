"""`claudetm monitor add`: writes a task's document, in one step and never over another.

What is written is read first as the monitor would read it, so nothing that it would refuse comes into the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from claudetm.cli.monitor.options import WORKING_DIR

if TYPE_CHECKING:
    from claudetm.adapters.sources.task_document import Document
    from claudetm.bootstrap.monitor_places import Places

_WORDS: Final = 4  # of a text, in its file's name
_NAME: Final = 19  # characters of those: with the time, half of a terminal
_FRONT: Final = "What else is said of it"
_SAY: Final = 'say what to do, as in `claudetm monitor add "Update the changelog"`'


def command(
    text: str = typer.Argument(help="What to do; `-` reads standard input, which may be a whole document."),
    mode: str = typer.Option("", "--mode", help="goal or session.", rich_help_panel=_FRONT),
    title: str = typer.Option("", "--title", help="What lists call it (its first line).", rich_help_panel=_FRONT),
    model: str = typer.Option("", "--model", help="The model of its sessions.", rich_help_panel=_FRONT),
    priority: str = typer.Option(
        "", "--priority", help="high, normal, low or a number, the lower first.", rich_help_panel=_FRONT
    ),
    budget: str = typer.Option("", "--budget", help="What it may cost, in US dollars.", rich_help_panel=_FRONT),
    repository: str = typer.Option(
        "", "--repository", help="Where it is worked: a path, from the working directory.", rich_help_panel=_FRONT
    ),
    skill: str = typer.Option("", "--skill", help="A skill of the project, for a session.", rich_help_panel=_FRONT),
    timeout: str = typer.Option(
        "", "--timeout", help="The most that a session may take: minutes; 90s, 2h.", rich_help_panel=_FRONT
    ),
    auto_commit: bool | None = typer.Option(
        None, "--auto-commit/--no-auto-commit", help="Keep a session's work as commits.", rich_help_panel=_FRONT
    ),
    auto_push: bool | None = typer.Option(
        None, "--auto-push/--no-auto-push", help="Push those commits.", rich_help_panel=_FRONT
    ),
    name: str = typer.Option("", "--name", help="Its name (made from the time and its first words)."),
    working_dir: Path | None = WORKING_DIR,
    tasks_dir: Path | None = typer.Option(None, "--tasks-dir", help="Where tasks lie (monitor.tasks_dir)."),
    as_json: bool = typer.Option(False, "--json", help="Print as JSON."),
) -> None:
    """Write a task for the monitor, as a file in its folder of tasks."""
    from claudetm.bootstrap.monitor_places import find_places

    said = {
        "mode": mode,
        "title": title,
        "model": model,
        "priority": priority,
        "budget": budget,
        "repository": repository,
        "skill": skill,
        "timeout": timeout,
        "auto_commit": _flag(auto_commit),
        "auto_push": _flag(auto_push),
    }
    places = find_places(working_dir)
    if tasks_dir is not None:
        places = replace(places, tasks=places.here / tasks_dir.expanduser())
    content = _content(text, {key: value for key, value in said.items() if value})
    document = _judged(content, places)
    _show(_written(places, content, name, document), document, places, as_json=as_json)


def _flag(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def _content(text: str, said: dict[str, str]) -> bytes:
    """Return the document: made from text and options, or standard input's own where that has front matter."""
    from claudetm.adapters.sources.task_document import render
    from claudetm.bootstrap.texts import check_text
    from claudetm.errors import UsageError

    if text == "-":
        import sys

        content = sys.stdin.buffer.read(_LARGEST + 1) if sys.stdin is not None else b""
        if content.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].rstrip() == b"---":
            if said:
                raise UsageError("What is read has front matter: say it there, or by options, not in both")
            return content
        text = content.decode(errors="surrogateescape")
    try:
        return render(check_text("task", text, _SAY), said).encode()
    except UnicodeEncodeError:
        raise UsageError("What is said of the task is not UTF-8 text; write it in UTF-8") from None


_LARGEST: Final = 1 << 20  # bytes, as the monitor reads


def _judged(content: bytes, places: Places) -> Document:
    """Return the document as the monitor will read it. Raises UsageError for what it would refuse."""
    from claudetm.adapters.sources.task_document import Flaw, parse
    from claudetm.errors import UsageError

    document = parse(content)
    if isinstance(document, Flaw):
        raise UsageError(f"The monitor would refuse this task: {document.why}")
    if document.repository and not (where := places.here / Path(document.repository).expanduser()).is_dir():
        raise UsageError(f"The monitor would refuse this task: the repository {where} is no folder")
    return document


def _written(places: Places, content: bytes, name: str, document: Document) -> Path:
    """Write the document under a free name, or the one that was given; return its path. Raises StoreError."""
    from claudetm.adapters.store.directory import disk
    from claudetm.errors import UsageError

    stems = [_given(name)] if name else _free(document)
    if not places.tasks.is_dir():
        places.create()
    draft = places.tasks / f".{os.urandom(8).hex()}.tmp"
    try:
        with disk(places.tasks):
            _write_draft(draft, content)
        for stem in stems:
            target = places.tasks / f"{stem}.md"
            if not os.path.lexists(places.results / f"{stem}.json") and _appeared(draft, target):
                _sync(places.tasks)
                return target
    finally:
        draft.unlink(missing_ok=True)
    raise UsageError(f"{_given(name)} is the name of a task already, or of a result; take another")


def _given(name: str) -> str:
    """Return the task's name for the one that was given. Raises UsageError for what cannot be one."""
    from claudetm.errors import UsageError
    from claudetm.ports.source import refuse_name

    stem = name if name.startswith("task-") else f"task-{name}"
    if why := refuse_name(stem) or refuse_name(name):
        raise UsageError(f"--name cannot be that: {why}; letters, digits and dashes are fine")
    return stem


def _free(document: Document) -> Iterator[str]:
    """Yield names: the time, the first words, and a number where that is taken."""
    import itertools
    import re
    import time
    import unicodedata

    plain = unicodedata.normalize("NFKD", document.title).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)[:_WORDS]
    while len("-".join(words)) > _NAME and len(words) > 1:
        words.pop()
    stem = "-".join(filter(None, ("task", time.strftime("%Y%m%d-%H%M%S"), "-".join(words)[:_NAME])))
    yield stem
    for number in itertools.count(2):
        yield f"{stem}-{number}"


def _write_draft(draft: Path, content: bytes) -> None:
    """Write what no pattern of tasks matches yet, whole and on the disk."""
    import time

    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), "wb") as file:
        file.write(content)
        file.flush()
        stamp = time.time_ns()  # the kernel stamps by its tick; what one person adds must stay in order
        os.utime(file.fileno(), ns=(stamp, stamp))
        os.fsync(file.fileno())


def _appeared(draft: Path, target: Path) -> bool:
    """Let the draft stand under the name, in one step; return False where something has that name."""
    try:
        target.hardlink_to(draft)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links: the name is taken by an empty file, which monitors await
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            return False
        draft.replace(target)
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _show(path: Path, document: Document, places: Places, *, as_json: bool) -> None:
    from claudetm.adapters.store.lock import holder

    locks = [places.lock, *places.state.glob(f"*/{places.lock.name}")]  # of monitors with a name of their own
    running = next((found for lock in locks if (found := holder(lock))), None)
    if as_json:
        import json

        shown = {
            "task": path.stem,
            "path": str(path),
            "title": document.title,
            "monitor_running": running is not None,
        }
        print(json.dumps(shown, ensure_ascii=False))
        return
    print(path)
    print(f"a monitor takes it: {running}" if running else "no monitor runs here: `claudetm monitor` takes it")
