"""`claudetm config`: every setting with where it comes from, and the one way to change one that loosens a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.config import Resolved


def command(
    action: str = typer.Argument("show", help="show, get KEY, set KEY VALUE…, or path."),
    key: str = typer.Argument("", help="A setting, such as limits.cost_usd."),
    values: list[str] = typer.Argument(None, help="Its value, several for a list; `-` reads standard input."),
    as_json: bool = typer.Option(False, "--json", help="Print as JSON."),
) -> None:
    """Show or change the configuration of this repository."""
    from claudetm.errors import UsageError

    match action, key, values or []:
        case "show", "", []:
            show(as_json=as_json)
        case "get", str(name), [] if name:
            _get(name, as_json)
        case "set", str(name), [_, *_] as given if name:
            _set(name, given)
        case "path", "", []:
            for path in _paths():
                print(path)
        case _:
            raise UsageError("Say `claudetm config show`, `get KEY`, `set KEY VALUE` or `path`")


def _state() -> StateDirectory:
    from claudetm.adapters.git.user_repository import locate
    from claudetm.adapters.store.directory import NAME, StateDirectory
    from claudetm.cli.state import here

    return StateDirectory(locate(here())[0] / NAME)


def _paths() -> list[str]:
    from claudetm.config import user_file

    return [str(_state().config), str(user_file())]


def show(*, as_json: bool) -> None:
    """Print every setting with its source and what it hides."""
    import json
    import sys

    from claudetm.bootstrap.configuration import configuration
    from claudetm.config import lines

    resolved = configuration(_state().root.parent)
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

    from claudetm.bootstrap.configuration import configuration
    from claudetm.config import KEYS, resolve

    resolved = configuration(_state().root.parent)
    if name not in KEYS:
        resolve({name: ""})  # refuses it, with the nearest that there is
    value = KEYS[name].shown(resolved[name])
    print(value if isinstance(value, str) and not as_json else json.dumps(value, ensure_ascii=False))


def _set(name: str, given: list[str]) -> None:
    import sys

    from claudetm.adapters.git.user_repository import locate
    from claudetm.config import KEYS

    state = _state()
    state.refuse_foreign()
    key = KEYS.get(name)
    if given == ["-"]:
        given = [_said(name, secret=key is not None and key.secret)]
    elif key is not None and key.secret:
        print("the key stood in the command line, where others can see it: next time, give `-` and type it",
              file=sys.stderr)  # fmt: skip
    value, parsed = _parsed(name, given)
    data = _laid(_read(state), name, value)
    state.create(locate(state.root.parent)[1])
    state.write_config(data)
    print(f"{name} is set in {state.config}{_in_vain(state, name)}{_tell_run(state, name, parsed)}")


def _said(name: str, *, secret: bool) -> str:
    """Return a value from standard input; a key that is typed is not shown."""
    import sys
    from getpass import getpass

    if sys.stdin is None:
        return ""
    if secret and sys.stdin.isatty():
        return getpass(f"{name}: ").strip()
    return sys.stdin.read().strip()


def _in_vain(state: StateDirectory, name: str) -> str:
    """Return what keeps the file's value from counting, for the screen; "" when it counts."""
    from claudetm.bootstrap.configuration import configuration

    resolved = configuration(state.root.parent)
    if any(f": {name} is ignored" in sentence for sentence in resolved.ignored):
        return "; git tracks that file, so it counts with --trust-project-settings only"
    variable = resolved.settings[name].variable
    return f"; {variable} of the environment goes before it" if variable else ""


def _parsed(name: str, given: list[str]) -> tuple[Any, Any]:
    """Return the value as the file holds it, and as the policy does. Raises ConfigError.

    null leaves the key to the next source, whose value is returned.
    """
    import json

    from claudetm.config import KEYS, resolve

    if name in KEYS and given == ["null"]:
        return None, resolve({}, {}, None, None)[name]
    is_list = name in KEYS and isinstance(resolve()[name], tuple)
    if is_list or len(given) > 1:
        return given, resolve({name: given})[name]
    try:
        value = json.loads(given[0])
    except ValueError:
        value = given[0]
    if isinstance(value, str) or value is None or not isinstance(value, (int, float, bool)) or KEYS[name].secret:
        value = given[0]
    return value, resolve({name: value})[name]


def _read(state: StateDirectory) -> dict[str, Any]:
    """Return the file as it is. What cannot be read is refused: setting one key must not drop the others."""
    import json

    from claudetm.config import resolve

    resolve({}, {}, state.config, tighten=False)
    return dict(json.loads(state.config.read_text(encoding="utf-8-sig"))) if state.config.exists() else {}


def _laid(data: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the file's content with one key set: where it stands already, else in its section."""
    section, _, last = name.partition(".")
    if name in data or not last or not isinstance(data.get(section, {}), dict):
        return {**data, name: value}
    return {**data, section: {**data.get(section, {}), last: value}}


def _tell_run(state: StateDirectory, name: str, parsed: Any) -> str:
    """Let a run that is not over go by the new value; return what came of it, for the screen."""
    from claudetm.bootstrap.configuration import configuration
    from claudetm.cli.state import load, send
    from claudetm.config import KEYS, policy

    if not state.journal.exists():
        return ""
    run = load(state)
    field = KEYS[name].field
    if run.finished or not (field or name.startswith("api.")):
        return "; the next start goes by it"
    if not field:
        return f"; the run {run.id} goes by it from the next `claudetm resume` on"
    value = list(parsed) if isinstance(parsed, tuple) else parsed
    if KEYS[name].entry:
        value = dict(getattr(policy(configuration(state.root.parent)), field))
    answer = send(state, "settings", {field: value})
    return f"; the run {run.id} goes by it from its next step on ({answer})"
