"""What may be shown: text without the secrets in it, and without what a terminal would act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

MASK: Final = "[secret]"
SECRET_VARIABLES: Final = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "OPENROUTER_API_KEY",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
)
"""Environment variables whose values are secrets by what they are for."""

_SHORTEST: Final = 8  # a shorter value also stands in text by chance
# Patterns are compiled at their first use, which most commands never come to.
_TOKENS: Final = r"""(?xi)
    (?P<token> \b(?: sk-(?:ant|or)-[\w-]{8,} | github_pat_\w{8,} | gh[opsur]_\w{8,} ) )
    | (?P<scheme> \b(?:bearer|basic)\s+ ) (?P<credential> [\w.~+/=-]{8,} )
    | (?P<header> \b(?:authorization|x-api-key|private-token)["']?\s*[:=]\s*["']?
        (?:(?:bearer|basic|token|digest)\s+)? ) (?P<value> [^\s"',;]{4,} )
    | (?P<url> \b(?!(?:git\+)?ssh://[^\s/@:"'<>]+@)[a-z][a-z0-9+.-]*:// ) (?P<userinfo> [^\s/@"'<>]+ ) (?=@)
    """
_SEQUENCES: Final = r"""(?xs)
    (?: \x1b\[ | \x9b ) [0-?]* [ -/]* [@-~]                      # CSI: colours, cursor
    | (?: \x1b[\]PX^_] | [\x9d\x90\x98\x9e\x9f] ) .*? (?: \x07 | \x1b\\ | \x9c | \Z )  # OSC, DCS and their like
    | \x1b [ -/]* [0-~]                                           # two-character sequences
    """
_CONTROLS: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"


def secrets_of(environment: Mapping[str, str], names: Iterable[str] = SECRET_VARIABLES) -> tuple[str, ...]:
    """Return the values of the named variables that are long enough to be masked, the longest first."""
    found = {environment[name].strip() for name in names if name in environment}
    return tuple(sorted((v for v in found if len(v) >= _SHORTEST), key=lambda v: (-len(v), v)))


def learn(secret: str) -> None:
    """Mask this value from now on, wherever this process shows text: whoever reads a credential says so here."""
    if len(secret) >= _SHORTEST:
        _learnt.add(secret)


_learnt: Final[set[str]] = set()


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text with known secrets, tokens of known forms, credentials in headers and in URLs masked."""
    for secret in (*secrets, *sorted(_learnt, key=len, reverse=True)):
        text = text.replace(secret, MASK)
    return re.sub(_TOKENS, _masked, text)


def _masked(found: re.Match[str]) -> str:
    return f"{found['scheme'] or found['header'] or found['url'] or ''}{MASK}"


def printable(text: str) -> str:
    """Return text from outside without escape sequences, control and direction characters; lines and tabs stay."""
    if text.isprintable():
        return text
    text = re.sub(_SEQUENCES, "", text.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(_CONTROLS, "", text)
