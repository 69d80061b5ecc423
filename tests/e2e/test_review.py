"""`claudetm review`, `pr`, `comments` and `explain` through the real entry point, beside a driver and without one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from claudetm.adapters.forge.github.place import Hosted, hosted_to_data
from claudetm.adapters.forge.local_journal import CheckResult
from claudetm.adapters.store.lock import acquire
from claudetm.ports.forge import Note
from claudetm.workflow import events as e
from claudetm.workflow.outcomes import Outcome, Usage
from claudetm.workflow.pull_request import fixed
from reviewed import BRANCH, CHECK, WEB, Reviewed, reviewed
from terminal import CLAUDETM, SCENARIOS, bytes_of, terminal, wait_for

pytestmark = pytest.mark.e2e

HOSTILE = "\x1b]0;owned\x07\x1b[2JLook\u202eLeft Bearer abcdefghijklmnop"


@pytest.fixture
def person(tmp_path: Path) -> Reviewed:
    return reviewed(tmp_path)


def told(person: Reviewed, *arguments: str | bytes, code: int = 0, said: bytes | None = None) -> str:
    """Return what a command says, in one paragraph without the line breaks of 80 columns."""
    ended = person(*arguments, said=said)
    assert ended.returncode == code, ended
    out = ended.stdout if code == 0 else ended.stderr
    if code == 0 and "show" not in arguments:
        assert all(len(line) <= 80 for line in out.splitlines()), out
    return " ".join(out.split())


# --- a person's say ---------------------------------------------------------------------------------------------


def test_a_comment_on_a_line_is_kept_with_its_author_and_what_comes_of_it_is_said(person: Reviewed) -> None:
    said = told(person, "review", "comment", "1", "Why capitals?", "--path", "./greet/loud.py", "--line", "2")
    assert said == "comment t1.1 by Ada on #1 no driver is alive: `claudetm resume` answers it"
    [thread] = person.records.pull(1).threads.values()
    assert (thread.path, thread.line, thread.people, thread.unanswered) == ("greet/loud.py", 2, ("Ada",), True)
    with acquire(person.directory.lock, "r1"):
        said = told(person, "review", "comment", "1", "-", "--thread", "t1.1", said="Really… why?\n".encode())
    assert said == "comment t1.1 by Ada on #1 the driver answers it at its next look"
    [thread] = person.records.pull(1).threads.values()
    assert [c.body for c in thread.comments] == ["Why capitals?", "Really… why?"]


REFUSED = (
    (("comment", "9", "Hm"), "There is no pull request #9 in this run; there are: #1"),
    (("approve", "0"), "0 is not in the range x>=1"),
    (("comment", "1"), "The comment is missing; give it as an argument, or - for standard input"),
    (("comment", "1", "  "), "The comment is empty; nothing was written"),
    (("comment", "1", "Hm", "--line", "3"), "A line is one of a file; name that with --path"),
    (
        ("comment", "1", "Hm", "--path", "no.py"),
        "There is no file no.py at the head of #1; it changes: greet/loud.py",
    ),
    (
        ("comment", "1", "Hm", "--path", "greet/loud.py", "--line", "3"),
        "There is no line 3 in greet/loud.py at the head of #1; it has 2",
    ),
    (("comment", "1", "Hm", "--thread", "t1.7"), "There is no conversation t1.7 on #1; there are: t1.1"),
    (("comment", "1", "Hm", "--thread", "t1.1", "--path", "README.md"), "leave out --path and --line"),
    (("resolve", "1", "t1.7"), "There is no conversation t1.7 on #1; there are: t1.1"),
    (("resolve", "1", "t1.1"), "The conversation t1.1 is bob's: only they resolve it"),
    (("reopen", "1"), "#1 is open; only a closed pull request can be opened again"),
    (("request-changes", "1"), "The objection is missing"),
)


def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_is_written(person: Reviewed) -> None:
    person.records.comment(1, "bob", "Why?")
    before = bytes_of(person.here)
    for arguments, says in REFUSED:
        assert says in told(person, "review", *arguments, code=1)
    assert bytes_of(person.here) == before


def test_nobody_speaks_in_our_name(person: Reviewed) -> None:
    for name in ("claudetm", "ClaudeTM", " Claude TM ", "claude\u200btm", "claude\u2010tm"):
        person.git("config", "user.name", name)
        assert "is the run's own, so nobody could tell you apart" in told(person, "review", "approve", "1", code=1)
    assert not person.records.pull(1).verdicts


def test_a_session_of_the_run_has_no_say(person: Reviewed) -> None:
    ended = person("review", "approve", "1", CLAUDETM_RUN="r1")
    assert "A session of the run has no say in its reviews" in ended.stderr
    assert not person.records.pull(1).verdicts


def test_without_a_name_in_git_the_login_speaks_and_without_that_nobody(person: Reviewed) -> None:
    person.git("config", "--unset", "user.name")
    assert "Nobody knows who you are" in told(person, "review", "approve", "1", code=1)
    person.extra["USER"] = "ada"
    assert told(person, "review", "approve", "1").startswith("#1 approved by ada")


def test_an_objection_is_kept_with_its_reason_until_it_is_approved(person: Reviewed) -> None:
    said = told(person, "review", "request-changes", "1", "Too loud.")
    assert said.startswith("changes requested by Ada on #1 (t1.1); `claudetm review approve 1` lifts that")
    assert person.records.pull(1).objections == ("Ada",)
    person.records.note(1, Note("m1", "It is not.", "t1.1", seen=1))
    assert "waits for: Ada asked for changes; `claudetm review approve 1` lifts that" in told(person, "review")
    told(person, "review", "approve", "1")
    assert not person.records.pull(1).opposed


def test_close_and_reopen(person: Reviewed) -> None:
    assert told(person, "review", "close", "1").startswith("#1 closed by Ada; `claudetm review reopen 1`")
    assert "#1 was closed by Ada, so this comes too late" in told(person, "review", "comment", "1", "Hm", code=1)
    assert told(person, "review", "list") == "No pull request is open; `claudetm pr` shows all."
    assert told(person, "review", "reopen", "1").startswith("#1 opened again by Ada")
    person.git("branch", "-q", "-D", BRANCH)
    gone = told(person, "review", "reopen", "1", code=1)
    assert f"bring it back with `git branch {BRANCH} {person.head}`" in gone
    person.tell(e.PullRequestClosed("c1", "Ada"), e.ChangeDropped("c1", "closed"))
    assert "The run has given c1 up: #1 cannot be opened any more" in told(person, "review", "reopen", "1", code=1)


def test_what_comes_after_the_merge_is_too_late(person: Reviewed) -> None:
    person.git("switch", "-q", "claudetm/r1/base")
    person.git("merge", "-q", "--no-ff", "-m", "Merge c1", BRANCH)
    person.git("update-ref", "refs/claudetm/r1/c1/merge", "HEAD")
    person.git("switch", "-q", "main")
    merge = person.git("rev-parse", "claudetm/r1/base").strip()
    for command in (("comment", "1", "Hm"), ("request-changes", "1", "No"), ("approve", "1"), ("close", "1")):
        assert f"#1 was merged as {merge[:10]}, so this comes too late" in told(person, "review", *command, code=1)
    assert "only a closed pull request" in told(person, "review", "reopen", "1", code=1)
    shown = person("review", "show", "1").stdout
    assert "+def loud():" in shown
    assert json.loads(person("pr", "1", "--json").stdout)["merge_commit"] == merge
    person.tell(e.RunCancelled("enough"))
    assert "The run is over (cancelled); there is nothing to review" in told(
        person, "review", "comment", "1", "Hm", code=1
    )


def test_what_a_person_has_merged_by_hand_is_merged_before_a_driver_sees_it(person: Reviewed) -> None:
    person.git("merge", "-q", "--no-ff", "-m", "Take it", BRANCH)
    assert f"#1 was merged as {person.head[:10]}, so this comes too late" in told(
        person, "review", "approve", "1", code=1
    )
    assert "stage: merged as" in told(person, "pr")
    assert "+def loud():" in person("review", "show", "1").stdout


def test_a_held_change_says_that_resume_takes_it_up(person: Reviewed) -> None:
    person.tell(e.ChangeBlocked("c1", "no agreement", "claudetm review show 1, then claudetm resume"))
    assert "c1 is held: `claudetm resume` goes on with it" in told(person, "review", "approve", "1")
    with acquire(person.directory.lock, "r1"):
        said = told(person, "review", "comment", "1", "Hm")
    assert said.endswith("c1 is held: once the driver has ended, `claudetm resume` answers it")


def test_without_a_text_the_editor_opens_at_a_terminal(person: Reviewed, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho 'Said in an editor.' > \"$1\"\n", encoding="utf-8")
    editor.chmod(0o700)
    ours, theirs = pty.openpty()
    for program, code in ((str(editor), 0), ("false", 1)):
        ended = subprocess.run(
            [CLAUDETM, "review", "comment", "1"],
            cwd=person.here,
            env={**person.environment, "EDITOR": program},
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert ended.returncode == code, ended
    assert b"The editor false failed, and nothing was written" in ended.stderr
    os.close(ours)
    os.close(theirs)
    [thread] = person.records.pull(1).threads.values()
    assert thread.comments[0].body == "Said in an editor."


# --- looking ----------------------------------------------------------------------------------------------------


def conversations(person: Reviewed) -> None:
    """Let there be a finding that was fixed, a comment that was declined, an open one, and a remark."""
    records = person.records
    records.note(1, Note("m1", "It fails for nobody.", path="greet/loud.py", line=1))
    records.note(1, Note("m2", fixed("Checked now.", person.head), "t1.1", resolve=True, seen=1))
    records.comment(1, "bob", "Use f-strings.", path="greet/loud.py", line=2)
    records.note(1, Note("m3", "There is nothing to format.", "t1.2", seen=1))
    records.comment(1, "Ada", HOSTILE)
    records.note(1, Note("m4", "Minor: a name.", blocking=False))


def test_comments_show_both_sides_of_what_is_open_and_all_on_request(person: Reviewed) -> None:
    assert told(person, "comments") == "No conversation is open."
    conversations(person)
    open_ = told(person, "comments")
    assert "t1.2 greet/loud.py:2: answered, not resolved bob: Use f-strings. claudetm: There is nothing" in open_
    assert "t1.3: not answered Ada: LookLeft Bearer [secret]" in open_
    assert "t1.1" not in open_
    assert "t1.4" not in open_
    every = told(person, "comments", "1", "--all")
    assert f"t1.1 greet/loud.py:1: resolved in {person.head[:10]}" in every
    assert "t1.4: a remark that asks for nothing" in every
    rows = json.loads(person("comments", "--all", "--json").stdout)
    assert [(r["id"], r["resolved"], r["answered"], r["commit"]) for r in rows] == [
        ("t1.1", True, True, person.head),
        ("t1.2", False, True, ""),
        ("t1.3", False, False, ""),
        ("t1.4", False, True, ""),
    ]
    assert "There is no pull request #2" in told(person, "comments", "2", code=1)


def test_show_tells_all_of_a_pull_request_and_nothing_acts_on_the_terminal(person: Reviewed) -> None:
    conversations(person)
    whole = person("review", "show", "1", "--diff").stdout
    for part in (
        "#1 c1: Greet loudly",
        f"check {CHECK}: passed (exit code 0)",
        "Why: it is wanted.",
        "bob: Use f-strings.",
    ):
        assert part in whole
    assert "+    return 'HELLO'" in whole
    assert not {"\x1b", "\u202e", "\x07"} & set(whole)
    assert "+def" not in person("review", "show", "1", "--no-diff").stdout
    stat = person("review", "show", "1", "--stat").stdout
    assert "greet/loud.py | 2 ++" in stat
    assert "+def" not in stat
    data = json.loads(person("review", "show", "1", "--json").stdout)
    assert (data["head"], len(data["conversations"]), "+def loud" in data["diff"]) == (person.head, 4, True)
    assert "stat" in json.loads(person("review", "show", "1", "--json", "--stat").stdout)


def test_a_diff_has_colour_at_a_terminal_alone_and_only_ours(person: Reviewed) -> None:
    person.git("switch", "-q", BRANCH)
    person.commit("evil.txt", "\x1b[2Jevil\n")
    person.git("switch", "-q", "main")
    for extra, colour in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [CLAUDETM, "review", "show", "1"], cwd=person.here, env={**person.environment, **extra}, stdout=theirs
        )
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        assert process.wait(30) == 0
        os.close(ours)
        assert (b"\x1b[32m+evil\x1b[0m" in shown) is colour
        assert b"\x1b[2J" not in shown


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux tells that nobody writes any more
        return b""


def test_pr_shows_where_each_stands_and_the_logs_cut_with_the_path_of_the_whole(person: Reviewed) -> None:
    shown = told(person, "pr")
    assert f"#1 c1: Greet loudly stage: open, waiting_reviews branch: {BRANCH} at {person.head[:10]}" in shown
    assert "checks: 1 of 1 passed" in shown
    ended = person("pr", "1", "--logs")
    log = person.directory.logs / "checks" / "c1.log"
    assert f"--- {CHECK}: {log}" in ended.stdout
    assert "line 0\n" in ended.stdout
    assert "line 1999\n" in ended.stdout
    assert f"lines left out; the whole: {log}]" in ended.stdout
    red = person.directory.logs / "checks" / "red.log"
    red.write_text("\x1b[31mAssertionError\n", encoding="utf-8")
    failed = CheckResult("lint", person.base, "k", ok=False, summary="exit code 1", log=str(red))
    person.records.checked(1, person.head, failed)
    shown = person("pr", "--logs").stdout
    assert "checks: failed: lint" in shown
    assert f"--- lint: {red}\nAssertionError\n" in shown
    assert "line 0" not in shown
    [row] = json.loads(person("pr", "--json", "--logs").stdout)
    assert row["logs"]["lint"]["path"] == str(red)
    assert [c["state"] for c in row["checks"]] == ["passed", "failed"]


def test_required_approvals_are_named_with_the_command_that_gives_one(tmp_path: Path) -> None:
    person = reviewed(tmp_path, reviews_required=2)
    listed = told(person, "review")
    assert "reviews: 0 of 2 approvals" in listed
    assert "waits for: 0 of 2 approvals; `claudetm review approve 1` gives one" in listed
    assert listed.endswith("next: claudetm review approve 1")
    with acquire(person.directory.lock, "r1"):
        said = told(person, "review", "approve", "1")
    assert "waits for: 1 of 2 approvals" in said
    [row] = json.loads(person("review", "list", "--json").stdout)
    assert (row["approvals"], row["waits_for"]["next"]) == (["Ada"], "claudetm review approve 1")
    assert json.loads(person("review", "--json").stdout) == [row]


def test_another_forges_pull_requests_are_named_and_explain_still_tells_what_it_knows(tmp_path: Path) -> None:
    place = Hosted("https://api.github.com", "acme", "widgets", "https://x", "https://x", "acme")
    person = reviewed(tmp_path, forge="github", hosted=hosted_to_data(place))
    before = bytes_of(person.here)
    for command in (("review",), ("review", "list"), ("review", "show", "1"), ("review", "approve", "1")):
        assert f"are held on GitHub, and not here: go to {WEB}/1" in told(person, *command, code=1)
    none = "There is no token for github.com: `gh auth login`, or set GH_TOKEN; `claudetm status` shows what is known"
    for words in (("pr",), ("comments",), ("stop", "--cancel", "--close")):
        assert none in told(person, *words, code=1)
    explained = told(person, "explain", "c1")
    assert "c1: Change c1" in explained
    assert f"from the journal alone: {none}" in explained
    assert bytes_of(person.here) == before
    assert told(person, "stop", "--cancel") == f"stop: done left open: #1 {WEB}/1"


def test_the_log_of_one_check_is_told_by_its_name(person: Reviewed) -> None:
    for words in (("pr", "--logs", CHECK), ("pr", "1", "--logs", CHECK), ("pr", "--logs", CHECK, "#1")):
        ended = person(*words)
        assert ended.stdout.startswith(f"\n--- {CHECK}: "), ended
        assert "line 1999\n" in ended.stdout
        assert "stage:" not in ended.stdout
    [row] = json.loads(person("pr", "--logs", CHECK, "--json").stdout)
    assert [*row["logs"]] == [CHECK]
    assert person("pr", "--logs", "1").stdout == person("pr", "1", "--logs").stdout
    refused = (
        (("pr", "lint"), "lint is no pull request's number; for a check's log: `claudetm pr --logs CHECK`"),
        (("pr", "1", "lint"), "lint is no pull request's number"),
        (("pr", "--logs", "unit", "tests"), "unit is no pull request's number; quote a check's name that has spaces"),
        (("pr", "--logs", "lint"), f"There is no check lint on the pull requests asked for; there are: {CHECK}"),
        (("pr", "7"), "There is no pull request #7 in this run; there are: #1"),
        (("pr", "0"), "There is no pull request #0 in this run"),
    )
    for command, says in refused:
        assert says in told(person, *command, code=1)


def test_pr_says_what_is_not_green_and_what_it_waits_for(person: Reviewed) -> None:
    log = person.directory.logs / "checks" / "red.log"
    red = CheckResult("lint", person.base, "k", ok=False, summary="exit code 1", log=str(log))
    person.records.checked(1, person.head, red)
    shown = told(person, "pr")
    assert "- lint failed, required: exit code 1 reviews: nothing is in the way" in shown
    assert shown.endswith("waits for: a driver, which has lint fixed next: claudetm resume")


def test_before_any_pull_request_that_is_said(person: Reviewed) -> None:
    person.records.path.unlink()
    assert told(person, "pr") == "No pull request was opened yet."
    assert told(person, "review") == "No pull request is open."
    assert "there are: none yet" in told(person, "review", "approve", "1", code=1)


# --- why --------------------------------------------------------------------------------------------------------


def test_explain_tells_a_stalemate_with_both_sides_what_was_used_and_what_to_do(person: Reviewed) -> None:
    conversations(person)
    person.story.tell(e.ReviewsReceived("c1", ("t1.2",)))
    person.story.session(Outcome.ANSWERED, "c1:respond", usage=Usage(cost_usd=0.25))
    person.story.session(Outcome.CRASHED, "c1:respond", transcript="logs/session-2.jsonl", detail="it died")
    person.tell(
        e.ChangeBlocked("c1", "no agreement after 3 review rounds", "claudetm review show 1, then claudetm resume")
    )
    change = told(person, "explain", "c1")
    for part in (
        "c1: Change c1 It is addressing_reviews, held; pull request #1",
        "blocked: no agreement after 3 review rounds",
        "conversation t1.2 greet/loud.py:2: bob: “Use f-strings.”; answered: “There is nothing to format.”",
        "sessions: 2, $0.25",
        "review rounds: 0 of 3",
        "attempts at c1:respond: 1 of 3",
        "crashed: logs/session-2.jsonl",
    ):
        assert part in change
    assert change.endswith("next: claudetm review show 1, then claudetm resume")
    assert told(person, "explain", "1") == told(person, "explain", "#1") == change
    run = told(person, "explain")
    assert "no agreement after 3 review rounds" in run
    assert "answered: “There is nothing to format.”" in run
    assert "sessions: 2, $0.25" in run


def test_explain_names_what_a_change_a_task_and_the_run_wait_for(person: Reviewed) -> None:
    assert "- c1, upon which it depends" in told(person, "explain", "c2")
    task = told(person, "explain", "c1.t1")
    assert f"It is done at {person.head[:10]}; its change c1 stands at waiting_reviews" in task
    assert "true already" in told(person, "explain", "t2")
    assert "t1 is more than one task: name c1.t1 or c2.t1" in told(person, "explain", "t1", code=1)
    assert "There is no c9 in this run; there are: c1, c2" in told(person, "explain", "c9", code=1)
    assert told(person, "explain").endswith("next: claudetm resume")
    with acquire(person.directory.lock, "r1"):
        person.records.object_(1, "bob")
        data = json.loads(person("explain", "c1", "--json").stdout)
    assert data["waits_for"][0]["why"].startswith("bob asked for changes")
    assert data["next"] == "claudetm review approve 1"
    assert ["checks passed" in row["text"] for row in data["last"]].count(True) == 1
    person.tell(e.RunPaused("the limit of 2 sessions is reached", "claudetm resume --max-sessions NUMBER"))
    assert told(person, "explain").endswith("next: claudetm resume --max-sessions NUMBER")


def test_explain_tells_a_session_that_runs_from_one_whose_driver_died(person: Reviewed) -> None:
    person.tell(e.ReviewsReceived("c1", ("t1.1",)), e.SessionStarted("s1", "responder", "c1:respond", "c1"))
    assert told(person, "explain", "c1").endswith("next: claudetm resume")
    with acquire(person.directory.lock, "r1"):
        for subject in ((), ("c1",)):
            said = told(person, "explain", *subject)
            assert "the responder session for c1:respond, since" in said
            assert said.endswith("next: nothing; it goes on by itself")
    person.tell(e.SessionEnded("s1", "c1:respond", Outcome.ANSWERED, "c1"), e.RunCancelled("enough"))
    over = told(person, "explain")
    assert "session for c1:respond ended: answered, $0.00" in over
    assert over.endswith("next: nothing is left to do")


def test_looking_writes_nothing_and_loads_nothing_heavy(person: Reviewed) -> None:
    conversations(person)
    before = bytes_of(person.here, person.home)
    for command in (("review",), ("review", "show", "1"), ("pr", "--logs"), ("comments", "--all"), ("explain",)):
        loaded = person(*command, PYTHONPROFILEIMPORTTIME="1").stderr
        assert "claudetm.adapters.forge.local_look" in loaded
        modules = {line.rpartition("|")[2].strip() for line in loaded.splitlines()}
        assert not modules & {"asyncio", "pydantic", "git", "github", "claude_agent_sdk", "fastapi"}
    assert bytes_of(person.here, person.home) == before


# --- with a real driver -----------------------------------------------------------------------------------------


RESPONDER = """
  - role: responder
    subject: c1:respond
    find:
      thread: 'Thread id: (\\S+)'
    turns:
      - use:
          - Bash:
              command: |
                sed -i '1i # Loud greetings.' greet/loud.py
                git commit -q -a -m 'Say what the module is for'
      - answer:
          replies: [{thread_id: "{thread}", outcome: fixed, text: The module says it now.}]
          checks: [{command: python3 -B -m unittest, exit_code: 0}]
"""


def test_a_person_beside_a_live_driver_is_answered_and_nothing_merges_before_they_approve(tmp_path: Path) -> None:
    person = terminal(tmp_path)
    scenario = tmp_path / "answered.yaml"
    loud = (SCENARIOS / "loud.yaml").read_text(encoding="utf-8")
    scenario.write_text(loud.replace("delay: 5", "delay: 0") + RESPONDER, encoding="utf-8")
    person.extra["CLAUDETM_REVIEWS_REQUIRED"] = "1"
    process = person.begin("start", "Greet loudly", "--rehearse", str(scenario), "--no-review")
    waits = "0 of 1 approvals; `claudetm review approve 1` gives one"
    wait_for(lambda: waits in person.output(), f"a wait for reviews\n{person.output()}")
    assert waits in " ".join(person("review").stdout.split())
    assert [w["why"] for w in json.loads(person("status", "--json").stdout)["waits"]] == [waits]

    said = person("review", "request-changes", "1", "What is the module for?")
    assert "the driver answers it at its next look" in said.stdout, said
    objects = "claudetm demo asked for changes; `claudetm review approve 1` lifts that"
    wait_for(lambda: objects in person.output(), f"a wait for the objection\n{person.output()}")
    [thread] = json.loads(person("comments", "--all", "--json").stdout)
    assert thread["resolved"]
    assert person.git("log", "-1", "--format=%s", thread["commit"]) == "Say what the module is for\n"
    assert "PullRequestMerged" not in [row["type"] for row in person.events()]

    assert "the driver goes on with it at its next look" in person("review", "approve", "1").stdout
    assert process.wait(60) == 0, person.output()
    assert not (person.state / "waiting.json").exists()
    assert "stage: merged as" in person("pr").stdout
    assert "Loud greetings" in person.git("show", "main:greet/loud.py")
