"""The checks of the monitor, where one was set up: each configured source, its folders, what keeps it running.

A server that does not answer is no fault of the machine's: the monitor itself goes on asking.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from claudetm.doctor.finding import Finding, fail, ok, refused, warn
from claudetm.doctor.place import Place
from claudetm.errors import ClaudetmError, ForgeBusy

if TYPE_CHECKING:
    from claudetm.adapters.service.described import Manager
    from claudetm.bootstrap.monitor_settings import MonitorSettings
    from claudetm.bootstrap.sego import ProjectSeen, Server

_LATER: Final = "look again later; the monitor goes on asking"


def monitor(place: Place) -> Iterator[Finding]:
    """Say where tasks come from, whether a monitor takes them, and whether its `.env` keeps the key."""
    from claudetm.adapters.store.lock import holder
    from claudetm.bootstrap.monitor_settings import refuse_unfit

    try:
        _ = place.settings
    except ClaudetmError:  # said of the configuration
        return
    if (settings := place.monitor) is None:
        return
    refuse_unfit(settings)
    found = f"tasks from {', '.join(settings.sources)} in {settings.places.here}"
    if (by := holder(settings.places.lock)) is not None:
        yield ok("monitor", f"{found}; it runs ({by})")
    else:
        yield warn("monitor", f"{found}; it does not run", "claudetm monitor, or claudetm monitor service install")
    yield from _dotenv(settings)


def _settings(place: Place) -> MonitorSettings | None:
    """Return the settings of a monitor that was set up; what cannot be read of them, the first check says."""
    try:
        return place.monitor
    except ClaudetmError:
        return None


def _dotenv(settings: MonitorSettings) -> Iterator[Finding]:
    from claudetm.adapters.git.user_repository import ignores
    from claudetm.bootstrap.dotenv import KEY, read
    from claudetm.bootstrap.monitor_places import is_tracked

    dotenv = read(settings.places.here)
    if KEY not in dotenv.values:
        return
    if is_tracked(dotenv):
        yield fail(".env", f"{dotenv.path} holds a key, and git tracks it", f"git rm --cached {dotenv.path.name}")
    elif dotenv.open_to_others:
        yield warn(".env", f"{dotenv.path} holds a key, and others can read it", f"chmod 600 {dotenv.path}")
    elif settings.root is not None and not ignores(settings.root, dotenv.path):
        remedy = f"claudetm monitor init, or a line {dotenv.path.name} in .gitignore"
        yield warn(".env", f"{dotenv.path} holds a key, and git does not ignore it", remedy)
    else:
        yield ok(".env", f"{dotenv.path} is yours alone; git passes it by")


def folders(place: Place) -> Iterator[Finding]:
    """Say whether the monitor may use its folders, and whether it hears of a new file at once."""
    if (settings := _settings(place)) is None:
        return
    places = settings.places
    used = [places.results, places.logs, places.state]
    used += [places.tasks] if "directory" in settings.sources else []
    lacking = [f for f in used if not f.is_dir()]
    closed = [f for f in used if f.is_dir() and not os.access(f, os.R_OK | os.W_OK | os.X_OK)]
    if closed:
        yield fail("monitor folders", f"{closed[0]} cannot be read and written", f"chmod u+rwx {closed[0]}")
    elif lacking:
        yield warn("monitor folders", f"{lacking[0]} is not there yet", "claudetm monitor init --yes")
    else:
        yield ok("monitor folders", ", ".join(str(f) for f in used))
    if "directory" in settings.sources and places.tasks.is_dir():
        yield _watch(places.tasks)


def _watch(folder: Path) -> Finding:
    late = "the folder is looked at each second"
    if find_spec("watchdog") is None:
        return warn("file events", f"watchdog is not installed, so {late}", "pip install 'claudetm[monitor]'")
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    observer = Observer()
    try:
        observer.schedule(FileSystemEventHandler(), str(folder))
        observer.start()
    except OSError as error:  # the kernel's limits for a user
        remedy = "end what watches files, or raise fs.inotify.max_user_instances and max_user_watches (sysctl)"
        return warn("file events", f"{error.strerror or error}, so {late}", remedy)
    observer.stop()
    observer.join()
    return ok("file events", f"a new file in {folder.name} is heard of at once")


def issues(place: Place) -> Iterator[Finding]:
    """Say whether issues on GitHub can be tasks: the right to label and to comment, and the label."""
    settings = _settings(place)
    if settings is None or "github" not in settings.sources:
        return
    from claudetm.bootstrap.github import AT_ONCE, client_of, token_again
    from claudetm.bootstrap.github_source import issues_at, look, refuse_unfit
    from claudetm.ports.source import Mode

    at = issues_at(place.user, settings.resolved, settings.mode or Mode.GOAL)
    token = token_again(at)
    try:
        ground = look(client_of(at, token, AT_ONCE), token, at, settings.label)
    except ForgeBusy as busy:
        yield warn("monitor issues", str(busy).partition(": ")[0].rstrip("."), _LATER)
        return
    refuse_unfit(ground, token)
    found = f"{ground.repository}, label {settings.label}"
    if ground.label:
        yield ok("monitor issues", found)
    else:
        yield warn("monitor issues", f"{found}, which is not there", "claudetm monitor init --source github")


def sego(place: Place) -> Iterator[Finding]:
    """Say whether the key, the project and the stream at Sego PM are as they should be."""
    settings = _settings(place)
    if settings is None or "sego" not in settings.sources:
        return
    from claudetm.bootstrap.sego import Refused, Unreachable, server_of

    server = server_of(settings)
    match server.check_key():
        case Refused(sentence):
            yield refused("Sego PM key", ClaudetmError(sentence))
            return
        case Unreachable(sentence):
            yield warn("Sego PM", sentence.partition(": ")[0], _LATER)
            return
        case accepted:
            of = f", of {accepted.who}" if accepted.who else ""
            yield ok("Sego PM key", f"taken at {server.address}{of}")
    if not settings.sego.project_id:
        found = "none, so every project that the key reaches, without client requests"
        yield ok("Sego PM project", found)
        return
    yield from _project(server, settings.sego.project_id)
    if settings.sego.sse:
        yield _stream(server, settings)


def _project(server: Server, project: str) -> Iterator[Finding]:
    from claudetm.bootstrap.sego import Refused, Unreachable

    match server.project(project):
        case Refused(sentence):
            yield refused("Sego PM project", ClaudetmError(sentence))
        case Unreachable(sentence):
            yield warn("Sego PM project", sentence.partition(": ")[0], _LATER)
        case seen:
            yield _auto_task(seen)


def _auto_task(seen: ProjectSeen) -> Finding:
    name = seen.name or seen.id
    if not seen.auto_task:
        return warn("Sego PM project", f"{name}: auto-task is off", "claudetm monitor sego enable")
    return ok("Sego PM project", f"{name}: auto-task is on, from an AI confidence of {seen.threshold:g}")


def _stream(server: Server, settings: MonitorSettings) -> Finding:
    from claudetm.bootstrap.sego import NoStream, Refused, StreamOpens, Unreachable

    match server.check_stream(settings.sego.project_id):
        case StreamOpens():
            return ok("Sego PM stream", "opens: client requests are heard of at once")
        case NoStream(why):
            found = f"none ({why}): client requests are found every {settings.poll:g} s"
            return warn("Sego PM stream", found, "claudetm config set monitor.sego.sse false spares the attempts")
        case Refused(sentence):
            return refused("Sego PM stream", ClaudetmError(sentence))
        case Unreachable(sentence):
            return warn("Sego PM stream", sentence.partition(": ")[0], _LATER)


def service(place: Place) -> Iterator[Finding]:
    """Say how the service stands that works here, of the account or of the machine; nothing where there is none."""
    from claudetm.bootstrap.service import manager_of

    if (settings := _settings(place)) is None:
        return
    for system in (False, True):
        manager = manager_of(system=system)
        if manager.works_in() == settings.places.here:
            yield from _service(manager, system=system)


def _service(manager: Manager, *, system: bool) -> Iterator[Finding]:
    import pwd

    from claudetm.adapters.service.systemd import lingers

    manager.refuse_absent()
    found = manager.standing()
    told = ", ".join(filter(None, (f"{manager.file.stem} is {found.state}", found.detail)))
    if found.pid:
        yield ok("monitor service", told)
    else:
        of = " --system" if system else ""
        remedy = f"claudetm monitor service logs{of}, then claudetm monitor service start{of}"
        yield fail("monitor service", told, remedy)
    if system:
        return
    user = pwd.getpwuid(os.getuid()).pw_name
    if manager.kind == "systemd" and lingers(user) is False:
        yield warn("linger", "off, so the service ends at your last logout", f"loginctl enable-linger {user}")
