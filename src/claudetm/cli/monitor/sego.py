"""`claudetm monitor sego`: turn auto-task on or off in a project, and a server of this machine to try it all with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from claudetm.bootstrap.sego import ProjectSeen, Server
    from claudetm.testing.sego.state import Sandbox

_HERE: Final[Any] = typer.Option(None, "--working-dir", help="Where the monitor works (here).")
_ADDRESS: Final[Any] = typer.Option(None, "--api-url", help="Where Sego PM answers (https://sego.pm).")
_PROJECT: Final[Any] = typer.Option(None, "--project-id", help="The project (SEGO_PROJECT_ID).")
_RECOMMENDED: Final = 0.85

app = typer.Typer(help="Set up projects on Sego PM, or try the monitor with a server of this machine.")


@app.command()
def enable(
    threshold: float = typer.Option(
        _RECOMMENDED, "--threshold", min=0.0, max=1.0, help="The AI confidence from which tasks are taken."
    ),
    project_id: str = _PROJECT,
    api_url: str = _ADDRESS,
    working_dir: Path = _HERE,
) -> None:
    """Turn auto-task on: the monitor takes tasks of the backlog that Sego is sure enough of."""
    _set(_server(working_dir, api_url, project_id), enabled=True, threshold=threshold)


@app.command()
def disable(project_id: str = _PROJECT, api_url: str = _ADDRESS, working_dir: Path = _HERE) -> None:
    """Turn auto-task off: tasks wait; client requests and conversations are answered as before."""
    _set(_server(working_dir, api_url, project_id), enabled=False, threshold=None)


def _server(working_dir: Path | None, api_url: str | None, project_id: str | None) -> tuple[Server, str]:
    """Return the server and the project that the settings name."""
    from claudetm.bootstrap.monitor_settings import monitor_settings
    from claudetm.bootstrap.sego import server_of
    from claudetm.errors import UsageError

    flags = {"monitor.sego.api_url": api_url, "monitor.sego.project_id": project_id}
    settings = monitor_settings(flags, working_dir, look=True)
    server = server_of(settings)
    if not settings.sego.project_id:
        raise UsageError("Auto-task belongs to a project: give --project-id, or set SEGO_PROJECT_ID")
    return server, settings.sego.project_id


def _set(where: tuple[Server, str], *, enabled: bool, threshold: float | None) -> None:
    from claudetm.bootstrap.sego import ProjectSeen

    server, project = where
    seen = server.set_auto_task(project, enabled=enabled, threshold=threshold)
    if not isinstance(seen, ProjectSeen):
        from claudetm.ports.source import SourceRefused

        raise SourceRefused(seen.sentence)
    print(_told(seen))


def _told(seen: ProjectSeen) -> str:
    name = seen.name or seen.id
    if not seen.auto_task:
        return f"Auto-task is off in project {name}."
    return f"Auto-task is on in project {name}: tasks with an AI confidence of {seen.threshold:g} or more are taken."


@app.command()
def sandbox(
    port: int = typer.Option(8417, "--port", min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one."),
) -> None:
    """Run a Sego PM server of this machine alone, with a few tasks, until Ctrl+C. Nothing is kept."""
    import asyncio
    import secrets
    from contextlib import suppress

    from claudetm.errors import UsageError
    from claudetm.testing.sego.state import Sandbox

    box = Sandbox(key=f"sandbox-{secrets.token_hex(8)}")
    _seed(box)
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(_serve(box, port))
        except OSError as error:
            raise UsageError(f"Port {port} cannot be had ({error.strerror}); name another with --port") from None


async def _serve(box: Sandbox, port: int) -> None:
    import asyncio
    import signal

    from claudetm.cli.output import say
    from claudetm.testing.sego.serve import serve

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with serve(box, port) as serving:
        say(_INTRODUCTION.format(url=serving.url, key=box.key))
        await ended.wait()


_INTRODUCTION: Final = """\
A Sego PM server of this machine alone answers at {url} until Ctrl+C. Nothing is kept.

In another terminal, in a repository:
  export SEGO_API_URL={url} SEGO_API_KEY={key} SEGO_PROJECT_ID=demo
  claudetm monitor --source sego --dry-run

See everything it knows:
  curl -s -H "Authorization: Bearer $SEGO_API_KEY" $SEGO_API_URL/
Add a task, let a client ask for something, let a client write:
  curl -s -H "Authorization: Bearer $SEGO_API_KEY" $SEGO_API_URL/sandbox/tasks \\
    -d '{{"title": "Say hello", "description": "Add a file hello.txt", "aiConfidence": 0.95}}'
  curl -s -H "Authorization: Bearer $SEGO_API_KEY" $SEGO_API_URL/sandbox/client-requests \\
    -d '{{"text": "Could it greet us in French?"}}'
  curl -s -H "Authorization: Bearer $SEGO_API_KEY" $SEGO_API_URL/sandbox/messages \\
    -d '{{"text": "Does it run on Windows?"}}'"""


def _seed(box: Sandbox) -> None:
    about = "A small Python package that greets people."
    box.add_project("demo", name="Greetings", description=about, enabled=True, threshold=_RECOMMENDED)
    box.add_project("quiet", name="Quiet", enabled=False, threshold=_RECOMMENDED)
    told = "Write how to call greet() into README.md."
    first = box.add_task("demo", title="Say in the README how to greet", description=told, aiConfidence=0.93)
    box.add_comment(first["id"], "One example is enough.")
    doubtful = "Something about the greeting feels off."
    box.add_task("demo", title="Make the greeting nicer", description=doubtful, aiConfidence=0.7)
    box.add_task("quiet", title="Nobody takes this", description="Auto-task is off here.", aiConfidence=0.99)
    box.add_request("demo", "Could the greeting be in French, for our office in Lyon?", title="French")
    box.add_message("demo", "Hello! Which languages can it greet in?")
