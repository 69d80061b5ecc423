"""docs/commands.md, made from the application itself: usage, arguments, options and defaults are never typed twice.

What an application cannot say of its commands stands here: an example each, and what each reads and writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from typer.main import get_command

from claudetm.cli.app import build
from claudetm.cli.exit_codes import WHEN
from claudetm.config import resolve

_TYPES: Final = {"str": "text", "int": "n", "int range": "n", "float": "n"}
JOURNAL: Final = "the journal"
FORGE: Final = "the journal, the local forge's records"
LOOK: Final = "the journal, the local forge's records or GitHub"
COMMAND: Final = "an event in the journal; where a driver lives, a file in `inbox/` that it takes"
RUN: Final = (
    "the journal, views and logs; the run's own repository; with the local forge refs `claudetm/…` of yours and at"
    " the end your branch, with GitHub branches `claudetm/…`, pull requests and remarks there"
)
REVIEW: Final = "the local forge's records"
NOTHING: Final = "nothing"
SEGO: Final = "the configuration, `.env`, the server at Sego PM"
SERVICE: Final = "the service manager"
QUEUE: Final = "`state/`, `results/`"


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of a command besides its options."""

    example: str
    reads: str
    writes: str = NOTHING


NOTES: Final[Mapping[str, Note]] = {
    "": Note(
        "claudetm --show-config", "the configuration", "`config.json` with `--init-config`, where there is none"
    ),
    "start": Note(
        'claudetm start "Add a --json flag to the report command" --max-cost 5 --criteria "make test passes"',
        "the repository, the configuration, GitHub where the remote is there",
        RUN,
    ),
    "resume": Note("claudetm resume --max-sessions 40", "the journal, the repository, the forge", RUN),
    "pause": Note("claudetm pause", JOURNAL, COMMAND),
    "stop": Note("claudetm stop", JOURNAL, f"{COMMAND}; with `--close` also its pull requests"),
    "status": Note("watch -n 5 claudetm status", "the journal, `lock`"),
    "plan": Note("claudetm plan --json", JOURNAL),
    "plan edit": Note("claudetm plan edit --file plan.yaml", JOURNAL, COMMAND),
    "plan approve": Note("claudetm plan approve", JOURNAL, COMMAND),
    "plan reject": Note('claudetm plan reject "Two pull requests are enough"', JOURNAL, COMMAND),
    "progress": Note("claudetm progress", JOURNAL),
    "context": Note("claudetm context", JOURNAL),
    "logs": Note("claudetm logs -n 20 -f", "the journal, `logs/`"),
    "pr": Note(
        "claudetm pr 1 --logs", LOOK, "nothing; with `--logs` of a run on GitHub, whole logs in `logs/checks`"
    ),
    "comments": Note("claudetm comments 1 --all", LOOK),
    "fix-pr": Note(
        "claudetm fix-pr 7 --max-cost 5",
        "the repository, the configuration, the pull request on GitHub",
        "the journal, views and logs; the run's own repository; at GitHub the pull request's branch, remarks and the "
        "merge; with `--merge-only` that alone",
    ),
    "review": Note("claudetm review", FORGE),
    "review list": Note("claudetm review list", FORGE),
    "review show": Note("claudetm review show 1", f"{FORGE}, your repository"),
    "review comment": Note(
        'claudetm review comment 1 "Name the unit" --path report.py --line 12', f"{FORGE}, your repository", REVIEW
    ),
    "review approve": Note("claudetm review approve 1", FORGE, REVIEW),
    "review request-changes": Note('claudetm review request-changes 1 "The flag needs a test"', FORGE, REVIEW),
    "review resolve": Note("claudetm review resolve 1 t1.1", FORGE, REVIEW),
    "review close": Note("claudetm review close 1", FORGE, REVIEW),
    "review reopen": Note("claudetm review reopen 1", FORGE, REVIEW),
    "explain": Note("claudetm explain c1", LOOK),
    "say": Note('claudetm say "Use the existing parser"', JOURNAL, COMMAND),
    "undo": Note(
        "claudetm undo c1-1 --branch rescue", "refs `refs/claudetm/…` of your repository", "the branch that is named"
    ),
    "clean": Note(
        "claudetm clean",
        "the journal, your repository",
        "`history/`; removes the run's own repository and its merged branches",
    ),
    "config": Note(
        'claudetm config set checks.commands "make test" "make lint"',
        "the configuration",
        "`config.json` with `set`; an event in the journal of a run that is not over",
    ),
    "monitor": Note(
        "claudetm monitor --source directory --poll 10",
        "the configuration, `.env`, the sources; `state/`",
        "`tasks/ results/ logs/ state/` where it works, what the sources are told, and for each task a run",
    ),
    "monitor init": Note(
        "claudetm monitor init --source directory --yes --json",
        "the configuration, `.env`, the server at Sego PM",
        "`.env`, `config.json`, the folders, `.git/info/exclude`",
    ),
    "monitor status": Note("claudetm monitor status --json", QUEUE),
    "monitor tasks": Note("claudetm monitor tasks task-0001", QUEUE),
    "monitor queue": Note("claudetm monitor queue", QUEUE),
    "monitor add": Note('claudetm monitor add "Say hello to strangers too"', NOTHING, "a file in `tasks/`"),
    "monitor apply": Note(
        "claudetm monitor apply task-0001",
        "the task's journal and its snapshot",
        "the files of your checkout and its index; nothing is committed",
    ),
    "monitor retry": Note(
        "claudetm monitor retry task-0001", QUEUE, "`state/`, and the result's file goes to `results/replaced/`"
    ),
    "monitor sego": Note("claudetm monitor sego enable", SEGO),
    "monitor sego enable": Note(
        "claudetm monitor sego enable --threshold 0.85", SEGO, "auto-task of the project, at the server"
    ),
    "monitor sego disable": Note("claudetm monitor sego disable", SEGO, "auto-task of the project, at the server"),
    "monitor sego sandbox": Note("claudetm monitor sego sandbox", NOTHING),
    "monitor service": Note("claudetm monitor service status", SERVICE),
    "monitor service install": Note(
        "claudetm monitor service install",
        "the environment, by name",
        "a unit of systemd or a plist of launchd, and its environment file",
    ),
    "monitor service uninstall": Note("claudetm monitor service uninstall", SERVICE, "removes what `install` wrote"),
    "monitor service start": Note("claudetm monitor service start", SERVICE),
    "monitor service stop": Note("claudetm monitor service stop", SERVICE),
    "monitor service restart": Note("claudetm monitor service restart", SERVICE),
    "monitor service status": Note("claudetm monitor service status", SERVICE),
    "monitor service logs": Note("claudetm monitor service logs", "the service manager's log, `monitor.log`"),
    "init": Note("claudetm init", "the repository", "`config.json` and `.git/info/exclude`"),
    "doctor": Note(
        "claudetm doctor --repair",
        "the machine, the account by name only, the repository, the state directory",
        "nothing; with `--repair` damaged journals, of which it keeps copies",
    ),
    "demo": Note("claudetm demo /tmp/greet-demo", NOTHING, "a repository of its own, and a run in it"),
}
"""By the words of the command; "" is `claudetm` alone."""


SETTINGS: Final[Mapping[str, str]] = {
    "model": "model",
    "forge": "forge",
    "check": "checks.commands",
    "auto_merge": "merge.auto",
    "review": "reviews.self",
    "verify": "verify",
    "approve_plan": "plan.approve",
    "pr_per_task": "plan.pr_per_task",
    "max_prs": "plan.max_prs",
    "pause_on_pr": "pause_on_pr",
    "max_sessions": "limits.sessions",
    "max_cost": "limits.cost_usd",
    "max_turns": "limits.turns",
    "timeout": "limits.session_minutes",
    "sandbox": "sandbox",
    "trust": "trust_project_settings",
}
"""The options of `start` and `fix-pr` that stand in for a setting of the configuration, whose default is theirs."""


def commands(command: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command of the application with the words it is called by, in the order of `--help`."""
    command = command or get_command(build(()))
    yield path, command
    for name in command.list_commands(None) if hasattr(command, "commands") else ():
        if command.commands[name].hidden:  # called by the program alone
            continue
        yield from commands(command.commands[name], f"{path} {name}".strip())


def parse(words: Sequence[str]) -> None:
    """Parse a command line as the program would, and do nothing. Raises TyperException for wrong usage."""
    context: Any = None
    command: Any = get_command(build(words))
    name = "claudetm"
    while True:
        for parameter in command.params:
            parameter.callback = None  # an option such as --version would act at once
        context = command.make_context(name, list(words), parent=context)
        left = [*context._protected_args, *context.args]
        if not left or not hasattr(command, "commands"):
            return
        name, *words = left
        command = command.commands[name]


def reference() -> str:
    """Return a section a command."""
    return "\n\n".join("\n".join(_section(path, command)) for path, command in commands())


def _section(path: str, command: Any) -> Iterator[str]:
    name, note = f"claudetm {path}".strip(), NOTES[path]
    yield f"{'##' if ' ' not in path else '###'} `{name}`"
    yield ""
    yield command.help.strip() if command.help else ""
    yield ""
    yield "```console"
    yield f"$ {note.example}"
    yield "```"
    yield ""
    yield f"Usage: `{' '.join([name, *_usage(command)])}`  "
    yield f"Reads: {note.reads}.  "
    yield f"Writes: {note.writes}."
    if rows := [_row(p, path) for p in command.params]:
        yield ""
        yield "| | default | |"
        yield "|---|---|---|"
        yield from rows


def _usage(command: Any) -> Iterator[str]:
    if any(p.param_type_name == "option" for p in command.params):
        yield "[OPTIONS]"
    if hasattr(command, "commands"):
        yield "COMMAND" if command.no_args_is_help else "[COMMAND]"
    for argument in (p for p in command.params if p.param_type_name == "argument"):
        word = _word(argument)
        yield word if argument.required else f"[{word}]"


def _word(argument: Any) -> str:
    return f"{argument.metavar or argument.name.upper()}{'…' if argument.nargs == -1 else ''}"


def _row(parameter: Any, path: str) -> str:
    if parameter.param_type_name == "argument":
        names = f"`{_word(parameter)}`"
    else:
        value = (
            ""
            if parameter.is_flag
            else f" {(parameter.metavar or _TYPES.get(parameter.type.name, parameter.type.name)).upper()}"
        )
        names = ", ".join(f"`{name}{value}`" for name in [*reversed(parameter.opts), *parameter.secondary_opts])
    described = (parameter.help or "").strip().replace("|", r"\|")
    return f"| {names} | {_default(parameter, path)} | {described} |"


def _default(parameter: Any, path: str) -> str:
    if parameter.required:
        return "(required)"
    if path in {"start", "fix-pr"} and parameter.name in SETTINGS:
        key = SETTINGS[parameter.name]
        return f"`{key}`{_value(resolve()[key])}"
    if parameter.default in (None, "", False, []):
        return ""
    if parameter.default is True:
        return f"`{parameter.opts[0]}`"
    return f"`{parameter.default}`"


def _value(setting: Any) -> str:
    if setting in (None, "", ()):
        return ""
    return f": {setting}".lower() if isinstance(setting, bool) else f": {setting}"


def exit_codes() -> str:
    """Return the table of exit codes, a row for each way in which a command ends."""
    return "\n".join(["| code | when |", "|---|---|", *(f"| {code.value} | {when} |" for when, code in WHEN.items())])
