"""What is masked before it is shown, and what never reaches a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudetm.redact import MASK, learn, printable, redact, secrets_of


@pytest.mark.parametrize(
    "token",
    [
        "sk-ant-api03-AbC_dEf-123456789",
        "sk-or-v1-0123456789abcdef",
        "ghp_0123456789abcdefABCDEF0123456789abcd",
        "github_pat_11ABCDE0Y0abcdefghij_klmnop",
        "gho_0123456789abcdef",
        "ghs_0123456789abcdef",
        "ghu_0123456789abcdef",
        "ghr_0123456789abcdef",
    ],
)
def test_tokens_of_a_known_form_are_masked_wherever_they_stand(token: str) -> None:
    for text in ("{}", "token={}", 'a "{}" b', "remote: {}\n", "({})."):
        assert redact(text.format(token)) == text.format(MASK)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {MASK}"),
        ("authorization: token abcd", f"authorization: token {MASK}"),
        ("-H 'Authorization: abcd'", f"-H 'Authorization: {MASK}'"),
        ("sent bearer abcdef123456.x to it", f"sent bearer {MASK} to it"),
        ("Basic dXNlcjpwYXNz==", f"Basic {MASK}"),
        ('{"x-api-key": "abcdef"}', f'{{"x-api-key": "{MASK}"}}'),
        ("https://user:pw@example.com/x.git", f"https://{MASK}@example.com/x.git"),
        ("https://token@example.com/x.git", f"https://{MASK}@example.com/x.git"),
        ("ssh://git:pw@example.com/x.git", f"ssh://{MASK}@example.com/x.git"),
    ],
)
def test_headers_and_user_information_are_masked(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a@b",
        "ssh://git@example.com/x.git",  # a user's name alone is no secret where a key logs in
        "git+ssh://git@example.com:2222/x.git",
        "mail a@example.com",
        "the bearer of it",
        "sk-antique",
        "c3 ghp_ short",
        "commit 0123456789abcdef0123456789abcdef01234567",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_values_of_named_variables_are_masked_the_longest_first() -> None:
    environment = {"GH_TOKEN": "hunter2hunter2", "GITHUB_TOKEN": "hunter2hunter2-and-more", "HOME": "/home/someone"}
    secrets = secrets_of(environment)
    assert redact("a hunter2hunter2-and-more b hunter2hunter2 /home/someone", secrets) == (
        f"a {MASK} b {MASK} /home/someone"
    )
    assert secrets_of({"X": "long-enough", "Y": "long-enough"}, ["X"]) == ("long-enough",)


def test_a_short_value_is_not_taken_for_a_secret() -> None:
    assert secrets_of({"GH_TOKEN": "a", "GITHUB_TOKEN": ""}) == ()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1b[2Jb\x1b[1;1Hc", "abc"),
        ("\x9b31mred", "red"),
        ("a\x1bPq secret\x1b\\b", "ab"),
        ("a\x1b]never closed", "a"),
        ("a\x00b\x08c\x7f", "abc"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("tab\tstays", "tab\tstays"),
        ("\u202eevil\u2066", "evil"),
        ("ünï 🎉", "ünï 🎉"),
    ],
)
def test_what_a_terminal_would_act_on_is_taken_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left_of_any_text(text: str) -> None:
    left = printable(text)
    assert not [c for c in left if c not in "\n\t" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    assert printable(left) == left


def test_what_was_learnt_to_be_secret_is_masked_from_then_on() -> None:
    assert redact("it is opensesame-4711") == "it is opensesame-4711"
    learn("opensesame-4711")
    assert redact("it is opensesame-4711") == f"it is {MASK}"
    learn("short")
    assert redact("cut it short") == "cut it short"
