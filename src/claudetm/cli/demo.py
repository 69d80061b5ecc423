"""`claudetm demo`: the whole job on a small repository, the real SDK and CLI and git, with a scripted model."""

from __future__ import annotations

from pathlib import Path

import typer

GOAL = "Let callers choose the greeting, greet strangers too, and add a command line"
FILES = {
    "README.md": "# greet\n\nGreets people by name.\n\n`greet(name)` returns the greeting for a name.\n",
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
    "claudetm logs": "what happened, and what each agent did",
}


def command(
    folder: Path | None = typer.Argument(None, help="Where to make the repository (a temporary folder)."),
    prepare: bool = typer.Option(False, "--prepare", help="Only make the repository, for a start of your own."),
    log_level: str = typer.Option("normal", "--log-level", help="quiet, normal or verbose."),
) -> None:
    """Run the main job end to end: no account, key or network. Only the model is scripted."""
    import shlex
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
    if prepare:
        print(f"cd {shlex.quote(str(where))}\nclaudetm start {shlex.quote(GOAL)} --rehearse demo")
        return
    code = run(Wish(GOAL, rehearsal="demo"), where, log_level)
    print(f"\nWhere to look next:\n  cd {shlex.quote(str(where))}")
    for line, shows in NEXT.items():
        print(f"  {line:<28}{shows}")
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
