"""Every command and every option is used by a test through the real entry point: a static look at the tests.

An option counts for the command that leads the words it stands among, as in person("logs", "-n", "5"); where none
does, for the commands that are named in its test, the helpers it calls, or the tests that use it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from commands_reference import commands

TESTS = Path(__file__).parent.parent
APPLICATION = dict(commands())
IN_A_SCRIPT = {"--install-completion", "--show-completion"}  # of bash, in test_completion.py

Called = defaultdict[str, set[str]]


def ends(command: Any) -> list[set[str]]:
    """Return the spellings of each option of a command; the two ends of a switch are two."""
    options = [p for p in command.params if p.param_type_name == "option" and not set(p.opts) & IN_A_SCRIPT]
    return [set(names) for p in options for names in (p.opts, p.secondary_opts) if names]


def texts(nodes: Iterable[ast.AST]) -> list[str]:
    found = (n for node in nodes for n in ast.walk(node))
    return [n.value for n in found if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def parts(node: ast.AST) -> list[ast.expr]:
    """Return what stands side by side: the arguments of a call, the items of a tuple or a list."""
    match node:
        case ast.Call(args=found) | ast.Tuple(elts=found) | ast.List(elts=found):
            return found
        case _:
            return []


def lead(words: list[str]) -> str:
    """Return the command that the words begin with, or ""."""
    return next((path for n in (3, 2, 1) if (path := " ".join(words[:n])) in APPLICATION), "")


def named(words: Iterable[str]) -> set[str]:
    """Return the commands that are named anywhere among the words."""
    there = set(words)
    return {path for path in APPLICATION if path and set(path.split()) <= there}


def top_level(tree: ast.Module) -> dict[str, ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case _:
                pass
    return found


def reach(name: str, names: Mapping[str, ast.stmt]) -> set[str]:
    """Return the top-level names that a name leads to, itself included; a test leads to its fixtures."""
    seen: set[str] = set()
    left = [name]
    while left:
        if (now := left.pop()) in names and now not in seen:
            seen.add(now)
            left += [n.id for n in ast.walk(names[now]) if isinstance(n, ast.Name)]
            left += [n.arg for n in ast.walk(names[now]) if isinstance(n, ast.arg)]
    return seen


def called(tree: ast.Module) -> Called:
    """Return the options that a file of tests says to each command; a command without any is there all the same."""
    found: Called = defaultdict(set)
    names = top_level(tree)
    reached = {name: reach(name, names) for name in names}
    for name, top in names.items():
        users = {n for r in reached.values() if name in r for n in r}
        around = named(texts(names[n] for n in users))
        for words in (texts(p) for node in ast.walk(top) if (p := parts(node))):
            options = {w.partition("=")[0] for w in words if w.startswith("-")}
            for path in [first] if (first := lead(words)) else around if options else ():
                found[path] |= options
    return found


def unused(files: Iterable[str]) -> list[str]:
    """Return the commands and options that are nowhere said to the program."""
    said: Called = defaultdict(set)
    for file in files:
        for path, options in called(ast.parse(file)).items():
            said[path] |= options
    said[""] = set().union(*said.values())
    lacking = [f"claudetm {path}" for path in APPLICATION if path not in said]
    for path, command in APPLICATION.items():
        lacking += [f"claudetm {path} {max(end)}" for end in ends(command) if not end & said[path]]
    return lacking


def test_every_command_and_every_option_is_used() -> None:
    files = (p.read_text(encoding="utf-8") for p in TESTS.rglob("test_*.py"))
    assert unused(text for text in files if "from terminal import" in text) == []  # a person at a terminal


def test_an_option_said_to_another_command_does_not_count() -> None:
    lacking = unused(['def test(person):\n    person("undo", "--json")\n    person("logs", "-n", "5", "--list")\n'])
    assert {"claudetm status", "claudetm status --json", "claudetm logs --json"} <= set(lacking)
    assert not {"claudetm logs", "claudetm undo --json", "claudetm logs --lines", "claudetm logs -n"} & set(lacking)


def test_an_option_handed_to_a_helper_counts_for_the_helper_s_command() -> None:
    helped = 'def go(*options):\n    run("resume", *options)\n\ndef test():\n    go("--max-cost", "5")\n'
    assert "claudetm resume --max-cost" not in unused([helped])
    assert "claudetm start --max-cost" in unused([helped])
