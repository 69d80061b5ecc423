"""What GitHub's refusals come to: a sentence, and the parts of the answer that decide what is done about it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from claudetm.adapters.forge.github.limits import is_haste
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.redact import printable, redact

_LONGEST: Final = 300  # characters of GitHub's own words


class GithubRefused(ForgeError):  # noqa: N818 - a fact about one request
    """GitHub's answer is no. `codes` are REST's errors[].code, or GraphQL's type and code."""

    def __init__(
        self,
        sentence: str,
        status: int,
        message: str,
        codes: Sequence[str] = (),
        errors: Sequence[Any] = (),
        documentation_url: str = "",
    ) -> None:
        """Take the sentence for the user, and the answer as it was."""
        super().__init__(sentence)
        self.status = status
        self.message = message
        self.codes = tuple(codes)
        self.errors = list(errors)
        self.documentation_url = documentation_url


class NotFound(GithubRefused):
    """There is no such thing, or the token may not see it (404), or it is gone (410)."""


class Unauthorised(GithubRefused):
    """The token itself was refused (401)."""


class Unanswered(ForgeBusy):
    """A write that may have happened or not: it must be looked up, never sent again unseen."""


class TooMuch(ForgeBusy):
    """GitHub came to no answer in its time, or broke off over the question: a smaller one may be answered."""

    alone = True


def refusal(asked: str, host: str, status: int, headers: Mapping[str, str], body: Any) -> GithubRefused:
    """Return the error for a 4xx; `asked` names the request, headers' names are in lower case."""
    answer = body if isinstance(body, Mapping) else {}
    errors = _errors(answer)
    message = str(answer.get("message") or "")
    parts = (
        status,
        message,
        tuple(str(e["code"]) for e in errors if isinstance(e, Mapping) and e.get("code")),
        errors,
        str(answer.get("documentation_url") or ""),
    )
    said = _shown(words(body) or f"status {status}")
    if status == 401:  # noqa: PLR2004
        return Unauthorised(
            f"{host} refuses the token ({said}): log in again with `gh auth login --hostname {host}`, or set "
            f"{_variable(host)} to a token that is valid",
            *parts,
        )
    if found := re.search(r"url=(\S+)", headers.get("x-github-sso", "")):
        return GithubRefused(
            f"{host} refused {asked}: the organization wants the token authorized for its single sign-on, "
            f"which is done at {_shown(found[1])}",
            *parts,
        )
    if status in {404, 410}:
        return NotFound(
            f"{host} answered {asked} with {status} ({said}): it does not exist, or the token may not see "
            f"it{_lacking(headers)}",
            *parts,
        )
    if status == 403 and (needed := _needed(headers, message)):  # noqa: PLR2004
        return GithubRefused(
            f"{host} refused {asked} ({said}): the token lacks a permission; it needs {needed}. Give it that where "
            f"it was made, or set {_variable(host)} to one that has it",
            *parts,
        )
    return GithubRefused(f"{host} refused {asked} with {status}: {said}", *parts)


def words(body: Any) -> str:
    """Return all that an error's body says: its message, and what it says of each thing that is wrong."""
    answer = body if isinstance(body, Mapping) else {}
    return "; ".join(filter(None, [str(answer.get("message") or ""), *map(_detail, _errors(answer))]))


def _errors(answer: Mapping[str, Any]) -> list[Any]:
    errors = answer.get("errors")
    return errors if isinstance(errors, list) else [errors] if errors else []


def graphql_refusal(asked: str, host: str, errors: Sequence[Any]) -> GithubRefused:
    """Return the error for a GraphQL answer that has errors in place of what was asked."""
    known = [e for e in errors if isinstance(e, Mapping)]
    first = known[0] if known else {}
    message = str(first.get("message") or "no reason given")
    parts = (200, message, tuple(dict.fromkeys(c for e in known for c in graphql_codes(e))), errors)
    if first.get("type") == "INSUFFICIENT_SCOPES":
        return GithubRefused(
            f"{host} refused {asked}: {_shown(message)} Or set {_variable(host)} to a token that has them", *parts
        )
    if first.get("type") == "NOT_FOUND":
        return NotFound(f"{host} does not find what {asked} names: {_shown(message)}", *parts)
    return GithubRefused(f"{host} refused {asked}: {_shown(message)}", *parts)


def graphql_codes(error: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what GraphQL calls the error, of the places where GitHub puts that."""
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, Mapping) else None
    return tuple(str(c) for c in (error.get("type"), error.get("code"), code) if c)


def is_graphql_limit(error: Mapping[str, Any]) -> bool:
    """Tell whether one of GraphQL's errors is a limit: it comes with status 200, as RATE_LIMITED or RATE_LIMIT."""
    said = str(error.get("message") or "").lower()
    named = any(code.upper().startswith("RATE_LIMIT") for code in graphql_codes(error))
    return named or said.startswith("api rate limit") or "secondary rate limit" in said or is_haste(said)


def _needed(headers: Mapping[str, str], message: str) -> str:
    """Return the permissions that GitHub would have accepted; "" where that is not what is wrong."""
    accepted = headers.get("x-accepted-github-permissions", "")
    if "not accessible by" in message:
        named = accepted.replace(",", " and ").replace(";", " or ").replace("=", ": ").replace("_", " ")
        return _shown(" ".join(named.split())) or "more than it has"
    return _scopes_lacking(headers)


def _lacking(headers: Mapping[str, str]) -> str:
    scopes = _scopes_lacking(headers)
    return f" (it lacks {scopes})" if scopes else ""


def _scopes_lacking(headers: Mapping[str, str]) -> str:
    """Return the scopes of which a classic token needs one and has none; "" for others."""
    if "x-oauth-scopes" not in headers:
        return ""
    has = {s.strip() for s in headers["x-oauth-scopes"].split(",") if s.strip()}
    accepted = [s.strip() for s in headers.get("x-accepted-oauth-scopes", "").split(",") if s.strip()]
    return "" if not accepted or has & set(accepted) else _shown(f"the scope {' or '.join(accepted)}")


def _detail(error: Any) -> str:
    """Return what one of REST's errors says: its message, or which field is wrong and how."""
    if not isinstance(error, Mapping):
        return str(error)
    return str(error.get("message") or " ".join(str(error[k]) for k in ("resource", "field", "code") if error.get(k)))


def _variable(host: str) -> str:
    return "GH_TOKEN" if host == "github.com" or host.endswith(".ghe.com") else "GH_ENTERPRISE_TOKEN"


def _shown(text: str) -> str:
    text = " ".join(printable(redact(text)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
