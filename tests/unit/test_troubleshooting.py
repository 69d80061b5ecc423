"""docs/troubleshooting.md lists every error sentence of the source, and none that is gone."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import claudetm
from claudetm import errors
from generate_docs import DOCS

SOURCE = Path(claudetm.__file__).parent
GITHUB = {"GithubRefused", "NotFound", "Partial", "TooMuch", "Unanswered", "Unauthorised", "Unshown"}
SOURCES = {"SourceBusy", "SourceRefused"}
KNOWN = {name for name, value in vars(errors).items() if inspect.isclass(value)} | {"Damaged", "Unknown"}
KNOWN |= GITHUB | SOURCES
LISTED = set(re.findall(r"`` (.+?) ``", (DOCS / "troubleshooting.md").read_text(encoding="utf-8")))


def _words(node: ast.expr) -> str:
    """Return the words of a sentence, `…` for each part that differs; "" for one made elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in values)
        case _:
            return ""


def _sentences(tree: ast.AST, names: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(bases=[ast.Name(id=base)]) if base in names:
                # an error that makes its own sentence: super().__init__("…")
                for call in ast.walk(node):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
                        yield _words(call.args[0])
            case ast.Call(func=ast.Name(id="Untested"), args=args):  # what a start says, and what a task does
                yield from map(_words, args)
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in names:
                yield _words(first)


def sentences() -> set[str]:
    # what ships for tests only says nothing to users
    files = [p for p in SOURCE.rglob("*.py") if p.parent.name != "testing"]
    return {s for p in files for s in _sentences(ast.parse(p.read_text(encoding="utf-8")), KNOWN) if s}


def test_every_error_sentence_is_listed() -> None:
    assert sentences() - LISTED == set()


def test_every_listed_sentence_is_said() -> None:
    assert LISTED - sentences() == set()
