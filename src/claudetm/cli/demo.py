"""`claudetm demo`: the whole job on a small repository, the real SDK and CLI and git, with a scripted model."""

from __future__ import annotations

from pathlib import Path

import typer

GOAL = "Let greet handle missing names, and add a command line"
FILES = {
    "README.md": "# greet\n\nGreets people by name.\n",
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
}


def command(
    folder: Path | None = typer.Argument(None, help="Where to make the repository (a temporary folder)."),
    log_level: str = typer.Option("normal", "--log-level", help="quiet, normal or verbose."),
) -> None:
    """Run the main job end to end: no account, key or network. Only the model is scripted."""
    import tempfile

    from claudetm.bootstrap.opening import Wish
    from claudetm.cli.driving import lines
    from claudetm.cli.start import run
    from claudetm.errors import UsageError

    lines(log_level)
    where = folder.resolve() if folder is not None else Path(tempfile.mkdtemp(prefix="claudetm-demo-")) / "greet"
    if where.exists() and any(where.iterdir()):
        raise UsageError(f"{where} is not empty; name a folder that is not there yet")
    make_repository(where)
    code = run(Wish(GOAL, rehearsal="demo"), where, log_level)
    print(f"\nLook around:\n  cd {where}")
    for line in ("git log --graph --oneline", "claudetm status", "claudetm status --criteria", "claudetm logs"):
        print(f"  {line}")
    raise typer.Exit(code)


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
