"""The pages: links lead somewhere, and every command line that they show is one of the program's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.exceptions import TyperException

from claudetm.config import KEYS
from claudetm.testing.scripted_model import scenario as scenarios
from commands_reference import commands, parse
from generate_docs import DOCS

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md")]
PAGES += ROOT.glob(".claude-task-master.example/README.md")
APPLICATION = dict(commands())
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`claudetm ([^`]+)`(?!`)")
BREAKS = {"|", "||", "&&", ";", ">", ">>", "<", "&", "do", "then"}


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of it."""
    found = []
    for link in LINK.findall(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            found.append(link)
    return found


def shown(text: str) -> Iterator[list[str]]:
    """Yield the words after `claudetm` of each command line in a page's blocks."""
    for language, block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "sh" or line.startswith("$ "):
                yield from calls(line.removeprefix("$ "))


def calls(line: str) -> Iterator[list[str]]:
    """Yield the words after `claudetm` of each call in a shell's line, comments left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    while "claudetm" in words:
        words = words[words.index("claudetm") + 1 :]
        end = next((n for n, word in enumerate(words) if word in BREAKS), len(words))
        if end:  # else a folder's name
            yield words[:end]


def unknown(mention: str) -> list[str]:
    """Return the words of a command that is named in a text, and of which the program knows nothing."""
    words = mention.split()
    if words[0] in {"COMMAND", "[OPTIONS]", "…"}:
        return []
    path = next((p for n in (3, 2, 1) if (p := " ".join(words[:n])) in APPLICATION), "")
    if not path and not words[0].startswith("-"):
        return [words[0]]
    known = {o for p in APPLICATION[path].params for o in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    settings = words[2:3] if words[:2] in (["config", "set"], ["config", "get"]) else []
    lost = [s for s in settings if s.islower() and s not in KEYS]
    return lost + [word for word in words if re.match(r"--?[a-z]", word) and word.rstrip(".,") not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_line_that_is_shown_is_one_of_the_program(page: Path) -> None:
    for words in shown(page.read_text(encoding="utf-8")):
        parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_and_option_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert {mention: lost for mention in INLINE.findall(text) if (lost := unknown(mention))} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_scenario_that_is_shown_can_be_played(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for scenario in re.findall(r"^```yaml\n(name: .*?)^```", text, re.MULTILINE | re.DOTALL):
        assert scenarios.parse(scenario, page.name).sessions


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop().resolve()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = LINK.findall(page.read_text(encoding="utf-8"))
        todo += [page.parent / path for link in links if "://" not in link and (path := link.partition("#")[0])]
    assert sorted({p.resolve() for p in PAGES} - reached) == []


def test_what_is_wrong_in_a_page_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](page.md#a-title) [b](page.md#no) [c](gone.md)\n")
    assert broken(page, page.read_text()) == ["page.md#no", "gone.md"]
    assert unknown("status --no-such") == ["--no-such"]
    assert unknown("frobnicate") == ["frobnicate"]
    assert unknown("config set limits.dollars 5") == ["limits.dollars"]
    block = "```console\n$ cd x && claudetm logs -n none  # a comment\n  printed by claudetm start\n```\n"
    assert list(shown(block)) == [["logs", "-n", "none"]]
    with pytest.raises(TyperException):
        parse(["logs", "-n", "none"])
