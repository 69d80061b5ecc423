"""`claudetm config`: every setting with where it comes from, and the one way to change one that loosens a gate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.config import Resolved
    from claudetm.workflow.run import Run


def command(
    action: str = typer.Argument("show", help="show, get KEY, set KEY VALUE…, or path."),
    key: str = typer.Argument("", help="A setting, such as limits.cost_usd."),
    values: list[str] = typer.Argument(None, help="Its value, several for a list; `-` reads standard input."),
    as_json: bool = typer.Option(False, "--json", help="Print as JSON."),
) -> None:
    """Show or change the configuration of this repository; outside of one, show your own."""
    from claudetm.errors import UsageError

    match action, key, values or []:
        case "show", "", []:
            show(as_json=as_json)
        case "get", str(name), [] if name:
            _get(name, as_json)
        case "set", str(name), [_, *_] as given if name:
            _set(name, given)
        case "path", "", []:
            from claudetm.config import user_file

            print(*([state.config] if (state := _inside()) is not None else []), user_file(), sep="\n")
        case _:
            raise UsageError("Say `claudetm config show`, `get KEY`, `set KEY VALUE` or `path`")


def _state() -> StateDirectory:
    from claudetm.adapters.git.user_repository import locate
    from claudetm.adapters.store.directory import NAME, StateDirectory
    from claudetm.cli.state import here

    return StateDirectory(locate(here())[0] / NAME)


def _inside() -> StateDirectory | None:
    """Return the state directory; None where there is no repository, and the user's own file alone counts."""
    from claudetm.cli.state import here

    start = here()
    outside = not any(os.path.lexists(folder / ".git") for folder in (start, *start.parents))
    return None if outside and not (start / "objects").is_dir() else _state()


def _resolved() -> Resolved:
    from claudetm.bootstrap.configuration import configuration

    state = _inside()
    return configuration(state.repository if state is not None else None)


def show(*, as_json: bool) -> None:
    """Print every setting with its source and what it hides."""
    import json
    import sys

    from claudetm.config import lines

    resolved = _resolved()
    if as_json:
        print(json.dumps({name: _data(resolved, name) for name in resolved.settings}, indent=2, ensure_ascii=False))
    else:
        for line in lines(resolved):
            print(line)
    for sentence in (*resolved.notes, *resolved.ignored):
        print(sentence, file=sys.stderr)


def _data(resolved: Resolved, name: str) -> dict[str, Any]:
    from claudetm.config import KEYS

    shown = [
        {"value": KEYS[name].shown(s.value), "source": s.source, **({"variable": s.variable} if s.variable else {})}
        for s in (resolved.settings[name], *resolved.hidden.get(name, ()))
    ]
    return {**shown[0], "hides": shown[1:]}


def _get(name: str, as_json: bool) -> None:
    import json

    from claudetm.config import named

    value = named(name).shown(_resolved()[name])
    print(value if isinstance(value, str) and not as_json else json.dumps(value, ensure_ascii=False))


def _set(name: str, given: list[str]) -> None:
    import sys

    from claudetm.config import named

    state = _state()
    state.refuse_foreign()
    key = named(name)
    if given == ["-"]:
        given = [_said(name, secret=key.secret)]
    elif key.secret:
        print("the key stood in the command line, where others can see it: next time, give `-` and type it",
              file=sys.stderr)  # fmt: skip
    value = parsed(name, given)
    with _alone(state.repository):
        for line in _write(state, name, value):
            print(line)


def put(root: Path, name: str, value: Any) -> list[str]:
    """Write one value into the configuration of the worktree `root`; return what came of it. Raises ClaudetmError."""
    from claudetm.adapters.store.directory import NAME, StateDirectory

    state = StateDirectory(root / NAME)
    state.refuse_foreign()
    with _alone(root):
        return _write(state, name, value)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait until no other command changes the configuration of this worktree: one would undo the other's."""
    import fcntl

    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network disks lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(state: StateDirectory, name: str, value: Any) -> list[str]:
    """Write one value into the file and tell the run; return what came of it. Nothing is written if refused."""
    from claudetm.adapters.git.user_repository import locate
    from claudetm.bootstrap.configuration import configuration
    from claudetm.bootstrap.opening import changed
    from claudetm.cli.state import send
    from claudetm.config import KEYS, load
    from claudetm.workflow.policy import policy_to_data

    root, common = locate(state.repository)
    _refuse_foreign_link(state)
    data = _laid(load(state.config), name, value)
    run = _unfinished(state)
    trusted = run is not None and run.policy.trust_project_settings and name != "trust_project_settings"
    resolved = configuration(root, {"trust_project_settings": True} if trusted else None, draft=data)
    field, said, new = KEYS[name].field, list[str](), {}
    if not (told := _in_vain(resolved, name)) and run is not None and field:
        was, is_ = (policy_to_data(p)[field] for p in (run.policy, changed(name, run, resolved, root, said.append)))
        new = {field: is_} if is_ != was else {}
        told = f"; the run {run.id} goes by that already"
    elif not told:
        told = _when(state, run, name)
    state.create(common)
    state.write_config(data)
    if new and run is not None:
        told = f"; the run {run.id} goes by it from its next step on ({send(state, 'settings', new)})"
    return [f"{name} is set in {state.config}{_left_to(resolved, name, value)}{told}", *said]


def _refuse_foreign_link(state: StateDirectory) -> None:
    """Raise UsageError where whoever wrote the repository says which file would be written."""
    from claudetm.adapters.git.user_repository import tracks
    from claudetm.errors import UsageError

    if state.config.is_symlink() and tracks(state.repository, state.config):
        raise UsageError(
            f"{state.config} is a link that git tracks, so it could lead anywhere: put a file in its place"
        )


def _unfinished(state: StateDirectory) -> Run | None:
    """Return the run that is not over, if there is one."""
    from claudetm.cli.state import load

    if not state.journal.exists():
        return None
    run = load(state)
    return None if run.finished else run


def _when(state: StateDirectory, run: Run | None, name: str) -> str:
    """Return from when on a value counts that no run goes by now, for the screen."""
    if run is not None and name.startswith("api."):
        return f"; the run {run.id} goes by it from the next `claudetm resume` on"
    return "; the next start goes by it" if state.journal.exists() else ""


def _left_to(resolved: Resolved, name: str, value: Any) -> str:
    """Return what counts where the file leaves the key to the next source, for the screen."""
    import json

    from claudetm.config import KEYS

    if value is not None:
        return ""
    setting = resolved.settings[name]
    if name in {"checks.commands", "worktree.setup"} and not setting.value:
        return " to null, which leaves it to what is detected"
    return f" to null, which leaves it at {json.dumps(KEYS[name].shown(setting.value))} ({setting.origin})"


def _said(name: str, *, secret: bool) -> str:
    """Return a value from standard input; a key that is typed is not shown."""
    import sys
    from getpass import getpass

    if sys.stdin is None:
        return ""
    if secret and sys.stdin.isatty():
        return getpass(f"{name}: ").strip()
    return sys.stdin.read().strip()


def _in_vain(resolved: Resolved, name: str) -> str:
    """Return what keeps the file's value from counting, for the screen; "" when it counts."""
    if any(f": {name} is ignored" in sentence for sentence in resolved.ignored):
        return "; git tracks that file, so it counts with --trust-project-settings only"
    variable = resolved.settings[name].variable
    return f"; {variable} of the environment goes before it" if variable else ""


def parsed(name: str, given: list[str]) -> Any:
    """Return the value as the file holds it; null leaves the key to the next source. Raises ConfigError."""
    import json

    from claudetm.config import listed_in, named, refuse_unusable, resolve

    if given == ["null"]:
        return None
    value: Any = given
    if len(given) == 1 and isinstance(resolve()[name], tuple):
        if listed_in(given[0]) is not None:  # as `get` prints it
            refuse_unusable(name, given[0])
            return json.loads(given[0])
    elif len(given) == 1:
        try:
            value = json.loads(given[0])
        except ValueError:
            value = given[0]
        if not isinstance(value, (int, float, bool)) or named(name).secret:
            value = given[0]
    refuse_unusable(name, value)
    return value


def _laid(data: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the file's content with one key set: where it stands already, else in its section."""
    section, _, last = name.partition(".")
    if name in data or not last or not isinstance(data.get(section, {}), dict):
        return {**data, name: value}
    return {**data, section: _laid(data.get(section, {}), last, value)}
