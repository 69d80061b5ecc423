"""`claudetm demo`: the whole job on a small repository, the real SDK and CLI and git, with a scripted model."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from claudetm.cli.options import AS_JSON, LOG_FORMAT, LOG_LEVEL

GOAL = "Let callers choose the greeting, greet strangers too, and add a command line"
FILES = {
    "README.md": (
        "# greet\n\nGreets people by name.\n\n`greet(name)` returns the greeting for a name.\n\n"
        "## Development\n\n`make test` runs the tests.\n"
    ),
    "Makefile": "test:\n\tpython3 -B -m unittest\n",
    ".gitignore": "__pycache__/\n",
    "greet/__init__.py": '"""Greets people."""\n',
    "greet/greet.py": 'def greet(name):\n    return "Hello, " + name\n',
    "tests/__init__.py": "",
    "tests/test_greet.py": (
        "import unittest\n\nfrom greet.greet import greet\n\n\n"
        "class GreetTest(unittest.TestCase):\n"
        "    def test_a_name_is_greeted(self):\n"
        '        self.assertEqual(greet("Ada"), "Hello, Ada")\n'
    ),
    "tests/test_readme.py": (
        '"""The README shows greet() as it is."""\n\n'
        "import inspect\nimport unittest\nfrom pathlib import Path\n\nfrom greet.greet import greet\n\n"
        'README = Path(__file__).parent.parent / "README.md"\n\n\n'
        "class ReadmeTest(unittest.TestCase):\n"
        "    def test_it_shows_the_signature_of_greet(self):\n"
        '        self.assertIn(f"`greet{inspect.signature(greet)}`", README.read_text(encoding="utf-8"))\n'
    ),
}
NEXT = {
    "git log --graph --oneline": "the fix, the conflict, the answer, both merges",
    "claudetm status": "where the run stands, and what it used",
    "claudetm status --criteria": "each criterion with its receipt",
    "claudetm pr": "both pull requests, and how their checks ended",
    "claudetm comments --all": "the reviewer's finding and its answer",
    "claudetm logs": "what happened, and what each agent did",
}


def command(
    folder: Path | None = typer.Argument(None, help="Where to make the repository (a temporary folder)."),
    prepare: bool = typer.Option(False, "--prepare", help="Only make the repository, for a start of your own."),
    log_level: str = LOG_LEVEL,
    log_format: str = LOG_FORMAT,
    as_json: bool = AS_JSON,
) -> None:
    """Run the main job end to end: no account, key or network. Only the model is scripted."""
    import shlex
    import tempfile

    from claudetm.bootstrap.opening import Wish
    from claudetm.cli.driving import audience
    from claudetm.cli.start import run
    from claudetm.errors import UsageError

    told = audience(log_level, log_format, as_json=as_json)
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="claudetm-demo-")) / "greet"
    try:
        where = Path(os.path.realpath(where))
        if where.exists() and any(where.iterdir()):
            raise UsageError(f"{where} is not empty; name a folder that is not there yet")
        make_repository(where)
    except OSError as error:
        raise UsageError(
            f"{where} cannot be the demo's: {error.strerror}; name a folder that is not there yet"
        ) from None
    if prepare:
        print(f"cd {shlex.quote(str(where))}\nclaudetm start {shlex.quote(GOAL)} --rehearse demo")
        return
    code = run(Wish(GOAL, rehearsal="demo"), where, told)
    if log_level != "quiet" and not as_json and log_format == "text":
        _say_where_to_look(shlex.quote(str(where)))
    raise typer.Exit(code)


def _say_where_to_look(where: str) -> None:
    from claudetm.cli.output import say

    say(f"\nWhere to look next:\n  cd {where}")
    for line, shows in NEXT.items():
        say(f"  {line:<28}{shows}")


def make_repository(where: Path) -> None:
    """Make the demo's repository: a small Python package with a test, one commit on main."""
    from claudetm.adapters.git.git import Git, identity, run

    for name, text in FILES.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git = Git(where / ".git", where).having(**identity("claudetm demo <demo@localhost>"))
    run(["git", "init", "--quiet", "--initial-branch=main", "--template=", str(where)], git.environment())
    for arguments in (
        ("config", "core.bare", "false"),
        ("config", "user.name", "claudetm demo"),
        ("config", "user.email", "demo@localhost"),
        ("add", "--all"),
        ("commit", "--quiet", "--message=Greet people by name"),
    ):
        git.run(*arguments)
