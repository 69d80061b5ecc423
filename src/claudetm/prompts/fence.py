"""Untrusted text between tags that carry an id its author cannot know, cleared of what a reader would not see.

The id is an HMAC over run, block and text, so a replay gives the same prompt and no text can contain its own tag.
A fence is one guard of several: what holds is that the agent has no credentials.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import sys
from typing import Final

REMOVED: Final = "[hidden text removed]"
SECRET: Final = "[secret removed]"  # noqa: S105 - what stands in a secret's place

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls besides tab and newline
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb"  # zero width, direction, fillers
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # and the tag characters, which spell whole sentences
)
_ENTITY = re.compile(r"&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LINK_COMMENT = re.compile(r"^[ \t]*\[[^\]\n]*\]:[ \t]*(?:#|<>)[ \t]*(?:\(.*\)|\".*\"|'.*')[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<[a-zA-Z][^<>]{0,4000}>")
_HIDDEN_TAG = re.compile(
    r"<([a-zA-Z]\w*)\b[^<>]*?(?:\shidden(?=[\s=/>])|display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0)[^<>]*>"
    r".*?(?:</\1\s*>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_ATTRIBUTE = re.compile(
    r"\b(alt|title|placeholder|value|content|aria-[\w-]+|data-[\w-]+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s>]+)",
    re.IGNORECASE,
)
_IMAGE_ALT = re.compile(r"!\[[^\[\]]*\]\(")
_LINK_TITLE = re.compile(r"(\]\([^()\s]*)\s+(?:\"[^\"]*\"|'[^']*')\)")
_TOKENS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[A-Za-z0-9_-]{20,}|xox[a-z]-[\w-]{10,}"
    r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})",
    re.DOTALL,
)
_LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_ASSIGNED = re.compile(
    r"\b([\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key|authorization)[\w-]*[\"']?\s*[:=]\s*(?:bearer\s+|basic\s+)?[\"']?)"
    r"(?=[\w+/.=-]*\d)[\w+/.=-]{16,}",
    re.IGNORECASE,
)
_FENCE = re.compile(r"<(\s*/?\s*)(?=(?:untrusted|project_instructions)\b)", re.IGNORECASE)


def fence(run: str, block: str, text: str) -> str:
    """Return the text as data: cleared, between two tags with one id that is the same whenever all three are."""
    body = clear(text)
    key = hmac.new(run.encode(), f"{block}\0{body}".encode(), hashlib.sha256).hexdigest()[:16]
    return f'<untrusted id="{key}" what="{block}">\n{body}\n</untrusted id="{key}">'


def clear(text: str) -> str:
    """Return the text without hidden parts, secrets, and tags that look like ours. Never raises."""
    return disarm(without_secrets(_seen(text))).strip("\n")


def disarm(text: str) -> str:
    """Return the text with tags that look like ours made harmless; visibly so."""
    return _FENCE.sub(r"&lt;\1", text)


def visible(text: str) -> str:
    """Return the text without terminal codes and characters that show nothing; line ends become plain newlines."""
    text = text.encode(errors="replace").decode()
    return _UNSEEN.sub("", _ANSI.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def without_secrets(text: str) -> str:
    """Return the text with a mark in the place of what looks like a credential."""
    text = _LOGIN.sub(SECRET, _TOKENS.sub(SECRET, text))
    return _ASSIGNED.sub(lambda m: m[1] + SECRET, text)


def _seen(text: str) -> str:
    text = visible(_ENTITY.sub(_character, visible(text)))
    text = _COMMENT.sub(REMOVED, text)
    text = _LINK_COMMENT.sub(REMOVED, text)
    text = _HIDDEN_TAG.sub(REMOVED, text)
    text = _TAG.sub(lambda tag: _ATTRIBUTE.sub(r'\1="…"', tag[0]), text)
    return _LINK_TITLE.sub(r"\1)", _IMAGE_ALT.sub("![](", text))


def _character(entity: re.Match[str]) -> str:
    code = int(entity[1], 16) if entity[1] else int(entity[2])
    return chr(code) if code <= sys.maxunicode else ""
