"""`claudetm review`: a person reads the run's pull requests and has a say in them, beside the driver or without it.

A person is who git says they are, and never us. What they write goes into the forge's records, which the driver
reads anew at each look; nothing is merged over it.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from claudetm.adapters.forge.looking import Seen
    from claudetm.cli.pulls import Looked, LookedHere

app = typer.Typer(help="Read the pull requests; comment, approve, request changes.", invoke_without_command=True)

NUMBER = typer.Argument(min=1, help="The pull request's number.", metavar="N", show_default=False)
TEXT = typer.Argument(None, help="What you say; - reads it from standard input. Without it, $EDITOR opens.")
_COLOURS: Final = (("+++", "1"), ("---", "1"), ("diff ", "1"), ("@@", "36"), ("+", "32"), ("-", "31"))


@app.callback()
def listed_by_default(
    context: typer.Context, as_json: bool = typer.Option(False, "--json", help="Print the list as JSON.")
) -> None:
    """Read the pull requests; comment, approve, request changes. By itself, it lists them."""
    if context.invoked_subcommand is None:
        list_(as_json)


@app.command("list")
def list_(as_json: bool = typer.Option(False, "--json", help="Print the list as JSON.")) -> None:
    """List the open pull requests: stage, checks, reviews, and what waits for a person."""
    from claudetm.cli import pulls as told
    from claudetm.workflow.pull_request import PullRequestState

    looked = told.look_here()
    shown = [s for s in looked.pulls if s.pull.state is PullRequestState.OPEN]
    if as_json:
        told.print_json([told.pull_data(looked, s) for s in shown])
        return
    if not shown:
        print("No pull request is open" + ("; `claudetm pr` shows all." if looked.pulls else "."))
    for seen in shown:
        told.tell(f"#{seen.pull.number} {seen.change}: {seen.title}", hang=4)
        told.tell(f"{told.standing(looked, seen)}; checks: {told.checks_line(seen)}", 4, 2)
        told.tell(f"reviews: {told.reviews_line(looked, seen)}", 4, 2)
        told.tell_awaited(told.awaits(looked, seen), 4)


@app.command()
def show(
    number: int = NUMBER,
    diff: bool = typer.Option(True, "--diff/--no-diff", help="Show what it changes."),
    stat: bool = typer.Option(False, "--stat", help="Show how much it changes in each file, and not the diff."),
    as_json: bool = typer.Option(False, "--json", help="Print it as JSON."),
) -> None:
    """Show a pull request whole: title, body, state, checks, conversations, diff."""
    from claudetm.cli.pulls import clean, look_here, print_json, pull_data, thread_data

    looked = look_here(number)
    seen = looked.find(number)
    text = clean(looked.look.diff(seen, stat=stat)) if stat or diff else ""
    if as_json:
        told = [thread_data(t, number) for t in seen.pull.threads]
        print_json(pull_data(looked, seen) | {"conversations": told} | ({"stat" if stat else "diff": text}))
        return
    _print_head(looked, seen)
    if text:
        print()
        print(text.rstrip("\n") if stat else _coloured(text))


def _print_head(looked: Looked, seen: Seen) -> None:
    from claudetm.cli.pulls import awaits, reviews_line, standing, tell, tell_awaited, tell_thread
    from claudetm.workflow.pull_request import PullRequestState

    pull = seen.pull
    tell(f"#{pull.number} {seen.change}: {seen.title}", hang=4)
    tell(f"{standing(looked, seen)}; {pull.branch} at {pull.head[:10]}")
    for check in pull.checks:
        tell(f"check {check.name}: {check.state}" + (f" ({check.summary})" if check.summary else ""), hang=2)
    if pull.state is PullRequestState.OPEN:
        tell(f"reviews: {reviews_line(looked, seen)}", hang=2)
    tell_awaited(awaits(looked, seen))
    if seen.body.strip():
        print()
        tell(seen.body.strip())
    for thread in pull.threads:
        print()
        tell_thread(thread)


def _coloured(text: str) -> str:
    """Return a diff, in colour at a terminal that has any."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    lines = text.rstrip("\n").split("\n")
    return "\n".join(lines if plain else map(_colour, lines))


def _colour(line: str) -> str:
    code = next((code for start, code in _COLOURS if line.startswith(start)), "")
    return f"\x1b[{code}m{line}\x1b[0m" if code else line


# --- a person's say ---------------------------------------------------------------------------------------------


@app.command()
def comment(
    number: int = NUMBER,
    text: str | None = TEXT,
    path: str = typer.Option("", "--path", metavar="F", help="The file it is about, from the repository's root."),
    line: int | None = typer.Option(None, "--line", metavar="L", min=1, help="The line of that file at the head."),
    thread: str = typer.Option("", "--thread", metavar="ID", help="The conversation it is a reply in."),
) -> None:
    """Say something about it, a file or a line: it is answered, and nothing merges until that is settled."""
    looked, seen = _open(number)
    where = _place(looked, seen, path, line, thread)
    said = _said("comment", text, number)
    person = _person(looked)
    looked, seen = _open(number)  # a driver may have gone on while it was written
    name = looked.look.journal.comment(number, person, said, thread=thread, path=where, line=line or 0)
    print(f"comment {name} by {person} on #{number}")
    _tell_next(number, "answers it", "is merged already: your comment comes too late")


@app.command()
def approve(number: int = NUMBER) -> None:
    """Let it through, also when commits are added. It lifts your objection and settles what you were answered."""
    looked, _ = _open(number)
    person = _person(looked)
    looked.look.journal.approve(number, person)
    print(f"#{number} approved by {person}")
    _tell_next(number, "goes on with it", "is merged already")


@app.command("request-changes")
def request_changes(number: int = NUMBER, text: str | None = TEXT) -> None:
    """Object: it is answered, and nothing merges until you approve, whatever the answer."""
    _open(number)
    said = _said("objection", text, number)
    looked, _ = _open(number)
    person, journal = _person(looked), looked.look.journal
    journal.object_(number, person)  # first: what it says may be answered at once
    name = journal.comment(number, person, said)
    print(f"changes requested by {person} on #{number} ({name}); `claudetm review approve {number}` lifts that")
    _tell_next(number, "answers it", "is merged already: your objection comes too late")


@app.command()
def resolve(
    number: int = NUMBER, thread: str = typer.Argument(help="The conversation, as `claudetm comments` names it.")
) -> None:
    """Close a conversation: yours, or one of the reviewer role's."""
    from claudetm.errors import UsageError

    looked, seen = _open(number)
    if looked.thread(seen, thread).resolved:
        raise UsageError(f"The conversation {thread} is resolved already; nothing was written")
    person = _person(looked)
    looked.look.journal.resolve(number, thread, person)
    print(f"{thread} on #{number} resolved by {person}")
    _tell_next(number, "goes on with it", "is merged already")


@app.command()
def close(number: int = NUMBER) -> None:
    """Close it unmerged: a veto, upon which the run does what is left and then asks you."""
    looked, _ = _open(number)
    person = _person(looked)
    looked.look.journal.close(number, person)
    print(f"#{number} closed by {person}; `claudetm review reopen {number}` opens it again")
    _tell_next(number, "takes note of that", "is merged already: it cannot be closed any more")


@app.command()
def reopen(number: int = NUMBER) -> None:
    """Open a closed pull request again."""
    from claudetm.errors import UsageError
    from claudetm.workflow.pull_request import PullRequestState

    looked, seen = _found(number)
    change = looked.change(seen)
    if seen.pull.state is not PullRequestState.CLOSED:
        raise UsageError(f"#{number} is {seen.pull.state}; only a closed pull request can be opened again")
    if change is None or change.settled:
        raise UsageError(
            f"The run has given {seen.change} up: #{number} cannot be opened any more; start another run"
        )
    if seen.gone:
        branch = f"git branch {seen.pull.branch} {seen.pull.head}"
        raise UsageError(f"The branch of #{number} is gone: bring it back with `{branch}`, then reopen it")
    person = _person(looked)
    looked.look.journal.reopen(number, person)
    print(f"#{number} opened again by {person}")
    _tell_next(number, "goes on with it", "is merged already")


def _found(number: int) -> tuple[LookedHere, Seen]:
    """Return the run, not over, and a pull request of it. Raises UsageError."""
    from claudetm.adapters.agent.environment import MARKER
    from claudetm.cli.pulls import look_here
    from claudetm.errors import UsageError

    looked = look_here(number)
    if os.environ.get(MARKER) == looked.run.id:
        raise UsageError("A session of the run has no say in its reviews; ask a person")
    if looked.run.finished:
        raise UsageError(f"The run is over ({looked.run.phase}); there is nothing to review")
    return looked, looked.find(number)


def _open(number: int) -> tuple[LookedHere, Seen]:
    """Return the run and an open pull request of it. Raises UsageError for one that is merged or closed."""
    from claudetm.errors import UsageError
    from claudetm.workflow.pull_request import PullRequestState

    looked, seen = _found(number)
    pull = seen.pull
    if pull.state is PullRequestState.MERGED:
        raise UsageError(
            f"#{number} was merged as {pull.merge_commit[:10]}, so this comes too late: "
            "`claudetm say` tells the next session, another run can change it"
        )
    if pull.state is PullRequestState.CLOSED:
        raise UsageError(
            f"#{number} was closed by {pull.by or 'a person'}, so this comes too late: "
            f"`claudetm review reopen {number}` opens it again"
        )
    return looked, seen


def _place(looked: LookedHere, seen: Seen, path: str, line: int | None, thread: str) -> str:
    """Return the path as git has it. Raises UsageError for a place, or a conversation, that there is not."""
    import posixpath

    from claudetm.errors import UsageError

    if thread:
        looked.thread(seen, thread)
        if path or line:
            raise UsageError("A reply stands where its conversation does; leave out --path and --line")
        return ""
    if not path:
        if line:
            raise UsageError("A line is one of a file; name that with --path")
        return ""
    root = looked.look.root
    name = posixpath.normpath(str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path)
    count, number = looked.look.lines(seen, name), seen.pull.number
    if count is None and (line or name not in looked.look.changed(seen)):
        changed = ", ".join(looked.look.changed(seen)[:10])
        raise UsageError(f"There is no file {name} at the head of #{number}; it changes: {changed}")
    if count is not None and line and line > count:
        raise UsageError(f"There is no line {line} in {name} at the head of #{number}; it has {count}")
    return name


def _person(looked: LookedHere) -> str:
    """Return who speaks: git's name for them, else the login's. Raises UsageError for nobody, and for our name."""
    from claudetm.adapters.forge.local_journal import US
    from claudetm.cli.pulls import one_line
    from claudetm.errors import UsageError

    name = one_line(looked.look.person()) or one_line(os.environ.get("USER", ""))
    remedy = 'git config user.name "Your Name"'
    if not name:
        raise UsageError(f"Nobody knows who you are; say so with `{remedy}`")
    plain = "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())
    if plain == US:
        raise UsageError(f"The name {name} is the run's own, so nobody could tell you apart; use another: `{remedy}`")
    return name


def _said(what: str, text: str | None, number: int) -> str:
    """Return what a person says: as given, from standard input, or from their editor. Raises UsageError."""
    from claudetm.bootstrap.texts import check_text
    from claudetm.errors import UsageError

    if text == "-":
        text = sys.stdin.buffer.read().decode(errors="surrogateescape")
    elif text is None and sys.stdin.isatty() and sys.stdout.isatty():
        text = _edited(number)
    elif text is None:
        raise UsageError(f"The {what} is missing; give it as an argument, or - for standard input")
    return check_text(what, text, "nothing was written")


def _edited(number: int) -> str:
    """Return what a person writes in their editor."""
    import shlex
    import subprocess
    import tempfile

    from claudetm.errors import UsageError

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="claudetm-review-") as folder:
        path = Path(folder) / f"pull-request-{number}.md"
        path.touch()
        try:
            subprocess.run([*shlex.split(editor), str(path)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            raise UsageError(f"The editor {editor} failed, and nothing was written: {error}") from None
        return path.read_bytes().decode(errors="surrogateescape")


def _tell_next(number: int, what: str, late: str) -> None:
    """Say what comes of it, as things stand once it is written."""
    from claudetm.cli.pulls import awaits, look_here, tell, tell_awaited
    from claudetm.workflow.pull_request import PullRequestState

    looked = look_here(number)
    seen = looked.find(number)
    change = looked.change(seen)
    if seen.pull.state is PullRequestState.MERGED:
        tell(f"but #{number} {late}")
    elif change and change.hold:
        after = "once the driver has ended, " if looked.driver else ""
        tell(f"{seen.change} is held: {after}`claudetm resume` {what}")
    elif not looked.driver:
        tell(f"no driver is alive: `claudetm resume` {what}")
    elif (awaited := awaits(looked, seen)) and awaited.next and not seen.pull.unanswered:
        tell_awaited(awaited)
    else:
        tell(f"the driver {what} at its next look")
