"""The command line's outermost boundary: commands are registered here, and only here is everything caught."""

from __future__ import annotations

import os
import sys

import typer
from typer.exceptions import TyperException

from claudetm.cli import context, demo, logs, pause, plan, progress, resume, say, start, status, stop
from claudetm.errors import ClaudetmError

SUCCESS, FAILED, STOPPED, BUG = 0, 1, 2, 3

app = typer.Typer(
    name="claudetm",
    help="Give it a goal; come back to merged, verified pull requests, with proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (start, resume, pause, stop, status, plan, progress, context, logs, say, demo):
    app.command(module.__name__.rsplit(".", 1)[-1])(module.command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from claudetm import __version__

        print(f"claudetm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", "-V", help="Show the version and exit.", callback=_print_version, is_eager=True
    ),
) -> None:
    """Give it a goal; come back to merged, verified pull requests, with proof."""


def run() -> None:
    """Run the command line and exit with its code: 0 success, 1 known error, 2 stopped and resumable, 3 a bug."""
    sys.exit(_guarded())


def _guarded() -> int:
    try:
        return int(app(standalone_mode=False) or SUCCESS)
    except TyperException as error:
        return _tell(f"{error.format_message().rstrip('.')}; see `claudetm --help`")
    except ClaudetmError as error:
        return _tell(str(error))
    except KeyboardInterrupt:
        print("claudetm: interrupted; `claudetm resume` carries on", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SUCCESS
    except Exception as error:  # noqa: BLE001 - the outermost boundary
        return _report_bug(error)


def _tell(sentence: str) -> int:
    from claudetm.redact import printable

    print(f"claudetm: {printable(sentence)}", file=sys.stderr)
    return FAILED


def _report_bug(error: Exception) -> int:
    """Keep the traceback where it can be found; the screen gets one sentence."""
    import tempfile
    import traceback

    from claudetm.redact import redact

    with tempfile.NamedTemporaryFile("w", prefix="claudetm-bug-", suffix=".txt", delete=False) as log:
        log.write(redact("".join(traceback.format_exception(error))))
    print(f"claudetm: this is a bug: {type(error).__name__}: {redact(str(error))}; the details are in {log.name}",
          file=sys.stderr)  # fmt: skip
    return BUG
