"""What a task document says, and what it is refused for: each time one clause, with the line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudetm.adapters.sources.task_document import KEYS, TEXT_BYTES, Document, Flaw, heading, parse, render
from claudetm.ports.source import Mode


def said(text: str) -> Document:
    document = parse(text.encode())
    assert isinstance(document, Document), document
    return document


def flaw(text: str | bytes) -> Flaw:
    found = parse(text if isinstance(text, bytes) else text.encode())
    assert isinstance(found, Flaw), found
    return found


def front(*lines: str) -> str:
    return "\n".join(("---", *lines, "---", "Do it"))


def test_a_text_alone_is_a_task() -> None:
    assert said("# Fix the report\n\nIt counts twice.\n") == Document(
        "# Fix the report\n\nIt counts twice.", "Fix the report"
    )


def test_front_matter_says_the_rest() -> None:
    document = said(
        "---\nmode: session\ntitle: A title\nmodel: opus\npriority: high\nbudget: $2.50\nrepository: ../other\n"
        "skill: task-coordination\ntimeout: 90s\nauto_commit: yes\nauto_push: true\n---\n\nDo it\n"
    )
    assert (document.text, document.title, document.mode, document.priority) == (
        "Do it",
        "A title",
        Mode.SESSION,
        -10,
    )
    assert (document.repository, document.skill) == ("../other", "task-coordination")
    assert document.settings == {
        "model": "opus",
        "limits.cost_usd": 2.5,
        "limits.session_minutes": "90.000s",
        "monitor.auto_commit": True,
        "monitor.auto_push": True,
    }
    assert document.lines["repository"] == 7


@pytest.mark.parametrize(("typed", "seconds"), [("10", "600.000s"), ("2h", "7200.000s"), ("0.5", "30.000s")])
def test_a_timeout_counts_in_minutes(typed: str, seconds: str) -> None:
    assert said(front(f"timeout: {typed}")).settings == {"limits.session_minutes": seconds}


@pytest.mark.parametrize(("typed", "goes"), [("high", -10), ("normal", 0), ("low", 10), ("3", 3), ("-7", -7)])
def test_a_priority_is_a_word_or_a_number(typed: str, goes: int) -> None:
    assert said(front(f"priority: {typed}")).priority == goes


def test_a_key_without_a_value_says_nothing() -> None:
    document = said(front("mode:", "budget: ~", "title: null"))
    assert (document.mode, document.settings, document.title) == (None, {}, "Do it")


@pytest.mark.parametrize(
    "text", ["\ufeffDo it", "\ufeff---\nmode: goal\n---\nDo it", "---\r\nmode: goal\r\n---\r\nDo it\r\n"]
)
def test_editors_marks_and_line_ends_are_accepted(text: str) -> None:
    assert said(text).text == "Do it"


def test_the_text_stays_as_it_was_written() -> None:
    text = "a tab\there\r\n\n  {{x}} /task-coordination `rm` \x1b[31m\u2028 ---\n---\nmodel: no front matter"
    assert said(render(text, {})).text == text


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 0, "it is empty"),
        (" \n\n", 0, "it is empty"),
        (front().removesuffix("Do it"), 3, "it says nothing to do: write the task below the front matter"),
        (front("modle: goal"), 2, "there is no key `modle`; did you mean `mode`?"),
        (front("mode: goal", "Budget: 5"), 3, "there is no key `Budget`; did you mean `budget`?"),
        (front("zzzzzz: 1"), 2, f"there is no key `zzzzzz`; there are {', '.join(KEYS)}"),
        (front("zzzzzz:"), 2, f"there is no key `zzzzzz`; there are {', '.join(KEYS)}"),
        (front("mode: goal", "", "mode: goal"), 4, "the key `mode` stands twice, first in line 2"),
        (front("mode: question"), 2, "`mode` must be goal or session, not 'question'"),
        (front("priority: soon"), 2, "`priority` must be high, normal, low or a whole number"),
        (front("priority: 1001"), 2, "`priority` must be high, normal, low or a whole number"),
        (front("model: sonet"), 2, "`model` must be a model (perhaps sonnet), not 'sonet'"),
        (front('model: "-x"'), 2, "`model` must be a name that does not begin with a dash"),
        (front("budget: 0"), 2, "`budget` must be an amount in US dollars above 0, not '0'"),
        (front("budget: none"), 2, "`budget` must be an amount in US dollars above 0, not 'none'"),
        (front("budget: .nan"), 2, "`budget` must be an amount in US dollars above 0"),
        (front("timeout: never"), 2, "`timeout` must be a duration above 0, as in 90s, 30m, 2h"),
        (front("auto_commit: perhaps"), 2, "`auto_commit` must be true or false, not 'perhaps'"),
        (front("auto_commit: no", "auto_push: yes"), 3, "`auto_push` needs `auto_commit`"),
        (front("skill: /x"), 2, "`skill` must be the name of a skill, without a slash before it"),
        (front("mode: goal", "skill: x"), 3, "`skill` needs `mode: session`"),
        (front('repository: "a\\nb"'), 2, "`repository` must be a path that can be shown"),
        (front("title: [a, b]"), 2, "`title` takes one value, neither a list nor keys of its own"),
        (front("mode:", "  goal: 1"), 2, "`mode` takes one value, neither a list nor keys of its own"),
        (front("[a]: b"), 2, "a key must be one word"),
        (front("- mode"), 2, "front matter is keys and values, as in `mode: session`"),
        (front("Just words"), 2, "front matter is keys and values, as in `mode: session`"),
        (front("title: &a x", "model: *a"), 2, "anchors and aliases (& and *) mean nothing here"),
        (front("title: !!python/object/apply:os.system [x]"), 2, "tags (!) mean nothing here"),
        (front("mode: goal", "title: x: y"), 3, "it is no YAML: "),
        (front("title: 'x"), 2, "it is no YAML: "),
        (front("\ttitle: x"), 2, "it is no YAML: "),
        (front("mode: goal", "title: \x07"), 3, "front matter holds a character that YAML does not have"),
        ("---\nmode: goal\n", 1, "the front matter that begins here has no end"),
        (front(*(f"# {'x' * 80}" for _ in range(110))), 1, "the front matter has more than 8192 bytes"),
        ("Do\n\nit\0", 3, "it holds a NUL character, so it is no text"),
        (b"Do\n\xff\xfe it", 2, "it is no UTF-8 text (byte 0xff at offset 3)"),
        (front() + "x" * TEXT_BYTES, 3, f"its text has {TEXT_BYTES + 5} bytes; {TEXT_BYTES} is the most"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str | bytes, line: int, why: str) -> None:
    found = flaw(text)
    assert (found.line, found.why[: len(why)]) == (line, why)


def test_thousands_of_brackets_take_no_time() -> None:
    assert flaw(front("title: " + "[" * 4000)).line


def test_a_flaw_names_the_file_on_one_line() -> None:
    assert Flaw("it is odd", 3).of("task-a.md") == "task-a.md:3: it is odd"
    assert Flaw("it is odd").of("task-\x1b[31m\na.md") == "task- a.md: it is odd"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("## Fix it\nmore", "Fix it"),
        ("\n\n- [ ] one", "[ ] one"),
        ("#\n\x1b[31mred\x1b[0m  and\tblue", "red and blue"),
        ("x" * 300, "x" * 99 + "…"),
        ("###", ""),
    ],
)
def test_a_title_is_the_first_line_that_says_anything(text: str, title: str) -> None:
    assert heading(text) == title


VALUES = st.sampled_from(
    ["none", "null", "~", "true", "no", "0", "-1", "1e999", ".inf", "$5", "2h", "high", "opus", "[]"]
)
LINES = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.tuples(st.sampled_from([*KEYS, "modle"]), st.one_of(st.text(max_size=12), VALUES)).map(": ".join),
        st.sampled_from(
            ["---", "...", "- a", "? b", "{", "[", "&a *a", "!!x", "<<: *a", "%YAML 9", "# x", "|", "'", "\t"]
        ),
    ),
    max_size=8,
)


@settings(deadline=None)
@given(LINES, st.text(max_size=40))
def test_whatever_stands_there_is_a_document_or_a_flaw_in_a_line_that_there_is(lines: list[str], body: str) -> None:
    text = "\n".join(("---", *lines, "---", body))
    content = text.encode(errors="surrogatepass")
    match parse(content):
        case Flaw(why, line):
            assert why
            assert why.isprintable()
            assert 0 <= line <= content.count(b"\n") + 1
        case Document() as document:
            assert document.text
            assert document.title.isprintable()


@given(st.binary(max_size=80))
def test_bytes_are_a_document_or_a_flaw(content: bytes) -> None:
    assert isinstance(parse(content), Document | Flaw)


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=30)


@settings(deadline=None)
@given(WORDS, WORDS)
def test_what_is_written_is_what_is_read(text: str, path: str) -> None:
    document = said(render(text, {"repository": path, "priority": "7"}))
    assert (document.text, document.repository, document.priority) == (text, path, 7)
