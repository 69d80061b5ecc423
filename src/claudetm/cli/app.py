"""The command line's outermost boundary: commands are registered here, and only here is everything caught."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from claudetm.cli.exit_codes import ExitCode
from claudetm.errors import ClaudetmError, StoreError

_OF_THE_DISK = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.EIO,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    }
)
"""What the machine refuses: no bug of ours, wherever it strikes."""

_MEND = "mend that, then call the same again"

_TYPERS_INTERRUPT = 130  # what typer makes of a KeyboardInterrupt
_COMPLETING = "_CLAUDETM_COMPLETE"
"""What a shell's completion sets, to be told what could come next instead of having anything done."""

COMMANDS = (
    "start",
    "resume",
    "pause",
    "stop",
    "status",
    "plan",
    "progress",
    "context",
    "logs",
    "pr",
    "comments",
    "fix-pr",
    "review",
    "explain",
    "say",
    "undo",
    "clean",
    "monitor",
    "config",
    "init",
    "doctor",
    "demo",
)
"""Each is a module here (fix-pr: fix_pr) with a function `command`, or a typer `app`, in `--help`'s order."""

DRIVING = ("start", "resume", "fix-pr", "demo")
"""Those that drive a run: interrupted, they leave one that `resume` goes on with."""


_TASK = "--task"


class _InOrder(TyperGroup):
    """Lists commands as they stand above; by itself, typer puts those with subcommands last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands that are loaded."""
        return [name for name in COMMANDS if name in super(_InOrder, self).list_commands(ctx)]


def command_in(arguments: Sequence[str]) -> str:
    """Return the command that is called, also behind `--task ID`; "" where it is none of ours."""
    rest = list(arguments)
    while rest and (rest[0] == _TASK or rest[0].startswith(f"{_TASK}=")):
        rest = rest[1 if "=" in rest[0] else 2 :]
    return rest[0] if rest and rest[0] in COMMANDS else ""


def build(arguments: Sequence[str]) -> typer.Typer:
    """Return the application. Where a command is called, it alone is loaded: the options of all take 20 ms."""
    called = [name] if (name := command_in(arguments)) else []
    app = typer.Typer(
        name="claudetm",
        cls=_InOrder,
        help="Give it a goal; come back to merged, verified pull requests, with proof.",
        no_args_is_help=True,
        add_completion=not called,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in called or COMMANDS:
        module = import_module(f"claudetm.cli.{name.replace('-', '_')}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)
    if _COMPLETING in os.environ:
        from claudetm.cli.completion import teach

        teach(app)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from claudetm import __version__

        print(f"claudetm {__version__}")
        raise typer.Exit


def _init_config(wanted: bool) -> None:
    if wanted:
        from claudetm.cli.init import write_default

        write_default()
        raise typer.Exit


def _show_config(wanted: bool) -> None:
    if wanted:
        from claudetm.cli.config import show

        show(as_json=False)
        raise typer.Exit


def _options(
    context: typer.Context,
    version: bool = typer.Option(  # noqa: ARG001 - its callback acts
        False, "--version", "-V", help="Show the version and exit.", callback=_print_version, is_eager=True
    ),
    init_config: bool = typer.Option(  # noqa: ARG001 - its callback acts
        False, "--init-config", help="Write a default configuration and exit.", callback=_init_config
    ),
    show_config: bool = typer.Option(  # noqa: ARG001 - its callback acts
        False, "--show-config", help="Show every setting with its source and exit.", callback=_show_config
    ),
    task: str = typer.Option(
        "", _TASK, metavar="ID", help="Look at the run of a task of the monitor, not at your own.", show_default=False
    ),
) -> None:
    """Give it a goal; come back to merged, verified pull requests, with proof."""
    if task:
        from claudetm.cli.chosen import choose

        choose(task, context.invoked_subcommand or "")


def run() -> None:
    """Run the command line and exit with its code, one of `ExitCode`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path or a narrow locale must not end a command
    code = _guarded()
    gc.freeze()  # the interpreter's last collection would look through everything that is about to go anyway
    sys.exit(code)


def _guarded() -> int:
    try:
        code = int(build(sys.argv[1:])(standalone_mode=False, prog_name="claudetm") or ExitCode.SUCCESS)
        if code == _TYPERS_INTERRUPT:
            return _interrupted()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code  # noqa: TRY300 - the flush can fail as the command can
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "claudetm"
        if not (said := " ".join(error.format_message().split()).rstrip(".")):
            return ExitCode.FAILED  # called without a command: the help has been shown
        return _tell(f"{said}; see `{path} --help`")
    except StoreError as error:
        sentence = str(error).rstrip(".")
        return _tell(sentence if ";" in sentence else f"{sentence}; {_MEND}", error.code)
    except ClaudetmError as error:
        return _tell(str(error), error.code)
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as ended:
        if _COMPLETING in os.environ:
            return int(ended.code or ExitCode.SUCCESS)  # fish asks by it whether there is anything to offer
        return ExitCode.SUCCESS  # rich's way to end when whoever read along has gone
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.SUCCESS
    except OSError as error:
        if error.errno in _OF_THE_DISK:
            if not error.filename and sys.stdout is not None:
                from claudetm.cli.output import unread

                unread(sys.stdout)  # the interpreter's last flush would fail once more
            return _tell(f"{error.filename or 'standard output or a file'}: {error.strerror}; {_MEND}")
        return _report_bug(error)
    except Exception as error:  # noqa: BLE001 - the outermost boundary
        return _report_bug(error)


def _interrupted() -> int:
    """Say so. Only a command that drives leaves something to carry on."""
    if sys.argv[1:2] and (command_in(sys.argv[1:]) not in DRIVING or "--merge-only" in sys.argv):
        return _tell("interrupted")
    from claudetm.cli.chosen import aimed

    print(f"claudetm: {aimed('interrupted; `claudetm resume` carries on')}", file=sys.stderr)
    return ExitCode.STOPPED


def _tell(sentence: str, code: int = ExitCode.FAILED) -> int:
    from claudetm.cli.chosen import aimed
    from claudetm.redact import printable

    print(f"claudetm: {' '.join(printable(aimed(sentence)).split())}", file=sys.stderr)
    return code


def _report_bug(error: Exception) -> int:
    """Keep the traceback where it can be found; the screen gets one sentence."""
    import tempfile
    import traceback

    from claudetm.redact import redact

    with tempfile.NamedTemporaryFile("w", prefix="claudetm-bug-", suffix=".txt", delete=False) as log:
        log.write(redact("".join(traceback.format_exception(error))))
    print(f"claudetm: this is a bug: {type(error).__name__}: {redact(str(error))}; the details are in {log.name}",
          file=sys.stderr)  # fmt: skip
    return ExitCode.BUG
