"""What the commands that set a monitor up ask people. Questions go to standard error: the answer may be JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import typer

_T = TypeVar("_T")


def at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def ask_yes(question: str, *, default: bool) -> bool:
    """Return what somebody says to a question. Raises KeyboardInterrupt for Ctrl+C and Ctrl+D."""
    return _asked(lambda: typer.confirm(question, default=default, err=True))


def ask_text(question: str, default: str = "", *, hidden: bool = False) -> str:
    """Return what somebody types, without blanks around it; `hidden`: nothing of it is shown. Raises as `ask_yes`."""
    told = bool(default) and not hidden
    return _asked(
        lambda: str(typer.prompt(question, default=default, hide_input=hidden, show_default=told, err=True)).strip()
    )


def _asked(prompt: Callable[[], _T]) -> _T:
    try:
        return prompt()
    except typer.Abort:
        print(file=sys.stderr)
        raise KeyboardInterrupt from None
