"""`claudetm config`: every setting with where it comes from, and the one way to change one that loosens a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from claudetm.adapters.store.directory import StateDirectory
    from claudetm.config import Resolved

_FIXED = frozenset({"checks", "checks_timeout", "copy", "sandbox", "trust_project_settings"})
"""Policy fields that a driver takes up when it begins."""


def command(
    action: str = typer.Argument("show", help="show, get KEY, set KEY VALUE…, or path."),
    key: str = typer.Argument("", help="A setting, such as limits.cost_usd."),
    values: list[str] = typer.Argument(None, help="Its value; more than one for a list."),
    as_json: bool = typer.Option(False, "--json", help="Print as JSON."),
) -> None:
    """Show or change the configuration of this repository."""
    from claudetm.errors import UsageError

    match action, key, values or []:
        case "show", "", []:
            _show(as_json)
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


def _resolved(state: StateDirectory) -> Resolved:
    import os

    from claudetm.config import resolve, user_file

    return resolve({}, os.environ, state.config, user_file())


def _show(as_json: bool) -> None:
    import json

    settings = _resolved(_state()).settings
    if as_json:
        print(json.dumps({name: {"value": s.value, "source": s.source} for name, s in settings.items()}, indent=2))
        return
    for name, setting in settings.items():
        print(f"{name} = {json.dumps(setting.value, ensure_ascii=False)}  ({setting.source})")


def _get(name: str, as_json: bool) -> None:
    import json

    from claudetm.config import KEYS, resolve

    resolved = _resolved(_state())
    if name not in KEYS:
        resolve({name: ""})  # refuses it, with the nearest that there is
    value = resolved[name]
    print(value if isinstance(value, str) and not as_json else json.dumps(value, ensure_ascii=False))


def _set(name: str, given: list[str]) -> None:
    from claudetm.adapters.git.user_repository import locate

    state = _state()
    state.refuse_foreign()
    value, parsed = _parsed(name, given)
    data = _laid(_read(state), name, value)
    state.create(locate(state.root.parent)[1])
    state.write_config(data)
    print(f"{name} is set in {state.config}{_tell_run(state, name, parsed)}")


def _parsed(name: str, given: list[str]) -> tuple[Any, Any]:
    """Return the value as the file holds it, and as the policy does. Raises ConfigError."""
    import json

    from claudetm.config import KEYS, resolve

    is_list = name in KEYS and isinstance(resolve()[name], tuple)
    if is_list or len(given) > 1:
        return given, resolve({name: given})[name]
    try:
        value = json.loads(given[0])
    except ValueError:
        value = given[0]
    if value is None or not isinstance(value, (str, int, float, bool)):
        value = given[0]
    return value, resolve({name: value})[name]


def _read(state: StateDirectory) -> dict[str, Any]:
    """Return the file as it is. What cannot be read is refused: setting one key must not drop the others."""
    import json

    from claudetm.config import resolve

    resolve({}, {}, state.config)
    return dict(json.loads(state.config.read_text(encoding="utf-8-sig"))) if state.config.exists() else {}


def _laid(data: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return the file's content with one key set: where it stands already, else in its section."""
    section, _, last = name.partition(".")
    if name in data or not last or not isinstance(data.get(section, {}), dict):
        return {**data, name: value}
    return {**data, section: {**data.get(section, {}), last: value}}


def _tell_run(state: StateDirectory, name: str, parsed: Any) -> str:
    """Let a run that is not over go by the new value; return what came of it, for the screen."""
    from claudetm.cli.state import load, send
    from claudetm.config import KEYS, policy

    if not state.journal.exists():
        return ""
    run = load(state)
    field = KEYS[name].field or ("models" if name.startswith("models.") else "")
    if run.finished or not field:
        return "; the next start goes by it"
    value = list(parsed) if isinstance(parsed, tuple) else parsed
    if field == "models":
        value = dict(policy(_resolved(state)).models)
    answer = send(state, "settings", {field: value})
    when = "from the next `claudetm resume` on" if field in _FIXED else "from its next step on"
    return f"; the run {run.id} goes by it {when} ({answer})"
