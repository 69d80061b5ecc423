"""The checks of a head on GitHub: what passes, what is told apart, what is required and silent, what says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from claudetm.adapters.forge.github.checks import (
    Checks,
    Reported,
    annotations_by_rest,
    by_rest,
    contexts_by_rules,
    from_context,
    judged,
    missing,
    said_of_itself,
)
from claudetm.adapters.forge.github.refusals import GithubRefused, Unauthorised
from claudetm.errors import ForgeBusy
from claudetm.workflow.pull_request import Check, CheckState
from github_values import HEAD, Values, run, status

PENDING, PASSED, FAILED = CheckState.PENDING, CheckState.PASSED, CheckState.FAILED


def checks(*nodes: dict[str, Any], required: tuple[str, ...] = (), told: dict[int, str] | None = None) -> Checks:
    return judged([from_context(n) for n in nodes], required, told or {})


def states(found: Checks) -> dict[str, CheckState]:
    return {c.name: c.state for c in found.checks}


# --- what passes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conclusion", "state"),
    [
        ("SUCCESS", PASSED),
        ("NEUTRAL", PASSED),
        ("SKIPPED", PASSED),
        ("FAILURE", FAILED),
        ("TIMED_OUT", FAILED),
        ("CANCELLED", FAILED),
        ("STARTUP_FAILURE", FAILED),
        ("STALE", FAILED),
        ("ACTION_REQUIRED", PENDING),
        ("INVENTED_LATER", PENDING),
    ],
)
def test_only_success_neutral_and_skipped_pass(conclusion: str, state: CheckState) -> None:
    assert states(checks(run(1, "test", conclusion))) == {"test": state}


@pytest.mark.parametrize("waiting", ["QUEUED", "IN_PROGRESS", "WAITING", "REQUESTED", "PENDING"])
def test_a_run_that_is_not_completed_is_pending(waiting: str) -> None:
    (check,) = checks(run(1, "test", None, waiting)).checks
    assert check == Check("test", PENDING, required=False, summary=waiting.lower().replace("_", " "))


@pytest.mark.parametrize(
    ("said", "state"),
    [("SUCCESS", PASSED), ("FAILURE", FAILED), ("ERROR", FAILED), ("PENDING", PENDING), ("EXPECTED", PENDING)],
)
def test_a_commit_status_counts_like_a_check_run(said: str, state: CheckState) -> None:
    found = checks(status("ci/jenkins", said, description="Build 7", targetUrl="https://ci/7", isRequired=True))
    assert found.checks == (Check("ci/jenkins", state, required=True, summary=f"{said.lower()}: Build 7"),)
    assert found.links == {"ci/jenkins": "https://ci/7"}
    assert (found.failed_jobs, found.runs, found.broken) == ({}, {}, {})


def test_a_run_that_waits_for_approval_says_so_with_its_address() -> None:
    (check,) = checks(run(1, "test", "ACTION_REQUIRED")).checks
    assert check.summary == "a person must approve the run at https://github.com/acme/widgets/runs/1"
    (check,) = checks(run(1, "test", "ACTION_REQUIRED", detailsUrl=None)).checks
    assert check.summary == "a person must approve the run"


def test_a_summary_is_one_line_of_bounded_length() -> None:
    (check,) = checks(run(1, "test", "TIMED_OUT", title="after\n60  minutes")).checks
    assert check.summary == "timed out: after 60 minutes"
    (check,) = checks(run(1, "test", "FAILURE", title="x" * 301)).checks
    assert check.summary == f"failure: {'x' * 299}…"


def test_jobs_runs_and_addresses_are_known_by_the_checks_name() -> None:
    found = checks(run(1, "test", "FAILURE"), run(2, "lint", "SUCCESS"), run(3, "scan", "FAILURE", app="scanner"))
    assert found.failed_jobs == {"test": (1,), "scan": (3,)}
    assert found.runs == {"test": (10,), "lint": (20,)}
    assert found.links == {n: f"https://github.com/acme/widgets/runs/{i}" for i, n in enumerate(states(found), 1)}


# --- which counts -------------------------------------------------------------------------------------------------


def test_the_newest_of_several_runs_counts_wherever_it_stands() -> None:
    assert states(checks(run(7, "test", "SUCCESS"), run(3, "test", "FAILURE"))) == {"test": PASSED}
    found = checks(run(3, "test", "SUCCESS"), run(7, "test", "FAILURE"))
    assert (states(found), found.failed_jobs) == ({"test": FAILED}, {"test": (7,)})


def test_a_check_is_called_by_its_own_name_whatever_else_reports() -> None:
    first = run(1, "test", "FAILURE")
    alone = checks(first)
    twice = checks(first, run(2, "test", "FAILURE", event="push"))
    thrice = checks(first, run(2, "test", "FAILURE", event="push"), run(3, "test", "SUCCESS", workflow="Nightly"))
    assert states(alone) == states(twice) == states(thrice) == {"test": FAILED}
    assert (alone.failed_jobs, twice.failed_jobs) == ({"test": (1,)}, {"test": (1, 2)})


def test_what_runs_on_pushes_and_on_pull_requests_is_one_check_that_ends_with_both() -> None:
    both = [run(1, "test", None, "IN_PROGRESS", event="push"), run(2, "test", "FAILURE", title="3 failed")]
    assert states(checks(*both)) == {"test": PENDING}
    both[0] |= {"status": "COMPLETED", "conclusion": "SUCCESS"}
    found = checks(*both)
    assert found.checks == (Check("test", FAILED, required=False, summary="failure: 3 failed"),)
    assert (found.failed_jobs, found.runs) == ({"test": (2,)}, {"test": (20,)})
    assert found.links == {"test": "https://github.com/acme/widgets/runs/2"}
    both[1] |= {"conclusion": "SUCCESS"}
    assert states(checks(*both)) == {"test": PASSED}


def test_of_jobs_of_one_name_in_two_workflows_the_summary_tells_which_is_red() -> None:
    other = run(2, "test", "FAILURE", workflow="Nightly")
    found = checks(run(1, "test", "SUCCESS"), other, run(3, "lint", "SUCCESS"))
    assert [(c.name, c.summary) for c in found.checks] == [("test", "Nightly: failure"), ("lint", "success")]
    assert (found.failed_jobs, found.runs) == ({"test": (2,)}, {"test": (20,), "lint": (30,)})


def test_two_workflows_that_call_themselves_the_same_do_not_hide_each_other() -> None:
    other = run(2, "test", "SUCCESS")
    other["checkSuite"]["workflowRun"]["workflow"]["id"] = "W-other"
    assert states(checks(run(1, "test", "FAILURE"), other)) == {"test": FAILED}


def test_neither_do_a_status_and_a_check_of_another_app() -> None:
    found = checks(status("build", "SUCCESS"), run(1, "build", "FAILURE", app="circle"))
    assert found.checks == (Check("build", FAILED, required=False, summary="circle: failure"),)


def test_of_two_that_are_red_the_one_that_says_something_comes_first() -> None:
    found = checks(run(1, "test", "CANCELLED"), run(2, "test", "FAILURE", event="push"))
    assert (found.failed_jobs, found.broken) == ({"test": (2, 1)}, {})
    found = checks(run(1, "test", "CANCELLED"), run(2, "test", "CANCELLED", event="push"))
    assert (found.failed_jobs, found.broken) == ({"test": (1, 2)}, {"test": "it was cancelled"})


# --- what is required ---------------------------------------------------------------------------------------------


def test_a_check_is_required_by_its_own_word_or_by_the_rules_plain_name() -> None:
    found = checks(
        run(1, "test", "SUCCESS", isRequired=True),
        run(2, "lint", "SUCCESS"),
        run(3, "lint", "SUCCESS", workflow="Nightly"),
        run(4, "docs", "SUCCESS"),
        required=("lint",),
    )
    required = {c.name: c.required for c in found.checks}
    assert required == {"test": True, "lint": True, "docs": False}


def test_a_required_check_that_has_not_reported_is_pending() -> None:
    found = checks(run(1, "test", "SUCCESS"), required=("test", "security"))
    assert found.checks[1:] == (Check("security", PENDING, required=True, summary="has not reported"),)


def test_required_checks_that_cannot_be_read_are_waited_for_only_where_github_is_not_satisfied() -> None:
    for satisfied in ("CLEAN", "UNSTABLE", "HAS_HOOKS"):
        assert missing(("test",), satisfied, "some may not be read") == ()
        assert missing(("test",), satisfied, "") == ("test",)
    assert missing(("test",), "BLOCKED", "some may not be read") == ("test",)


# --- what says nothing about the code -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conclusion", "why"),
    [
        ("CANCELLED", "it was cancelled"),
        ("STARTUP_FAILURE", "it could not be started"),
        ("STALE", "GitHub gave up waiting for it"),
    ],
)
def test_a_check_that_gave_no_verdict_is_broken(conclusion: str, why: str) -> None:
    found = checks(run(1, "test", conclusion), run(2, "lint", "FAILURE"), run(3, "docs", "SUCCESS"))
    assert found.broken == {"test": why}


@pytest.mark.parametrize("conclusion", ["FAILURE", "TIMED_OUT"])
@pytest.mark.parametrize(
    "words",
    [
        "The runner has received a shutdown signal. This can happen when the runner service is stopped.",
        "The self-hosted runner: x lost communication with the server. Verify the machine is running.",
        "The hosted runner encountered an error while running your job. (Error Type: Failure).",
        "The job was not acquired by Runner of type hosted even after multiple attempts",
        "The job was not started because recent account payments have failed",
    ],
)
def test_a_runner_that_was_lost_is_no_verdict(words: str, conclusion: str) -> None:
    by_note = checks(run(1, "test", conclusion), told={1: f"Process completed\n{words}"})
    by_title = checks(run(1, "test", conclusion, title=words))
    assert by_note.broken["test"].startswith("its runner was lost: ")
    assert by_note.broken == by_title.broken
    assert by_note.broken["test"].removeprefix("its runner was lost: ") in words
    assert checks(run(1, "test", conclusion), told={2: words}).broken == {}


def test_only_failed_jobs_of_actions_need_to_be_asked_what_happened() -> None:
    obscure = {
        (r.app, r.verdict)
        for app in ("github-actions", "scanner")
        for verdict in ("failure", "timed_out", "cancelled", "success", "queued")
        if (r := Reported("x", verdict, app=app)).obscure
    }
    assert obscure == {("github-actions", "failure"), ("github-actions", "timed_out")}


def test_a_failed_run_says_of_itself_what_its_summary_and_annotations_say() -> None:
    notes = {"nodes": [{"title": "T", "message": "M"}, None, {"title": None, "message": "N"}]}
    assert said_of_itself({"summary": "S", "annotations": notes}) == "S\nT\nM\nN"
    assert said_of_itself({"summary": None, "annotations": None}) == ""


# --- by REST, where the rollup is refused -------------------------------------------------------------------------

AT = "/repos/acme/widgets"
RUNS, CHECKS, STATUSES = f"{AT}/actions/runs", f"{AT}/commits/{HEAD}/check-runs", f"{AT}/commits/{HEAD}/status"


def workflow_run(number: int, **more: Any) -> dict[str, Any]:
    known = {"id": number, "name": "CI", "workflow_id": 5, "event": "pull_request", "status": "completed"}
    return {**known, "conclusion": "success", "html_url": f"https://x/{number}", **more}


def job(number: int, name: str, conclusion: str | None, state: str = "completed") -> dict[str, Any]:
    return {"id": number, "name": name, "status": state, "conclusion": conclusion, "html_url": f"https://x/j{number}"}


def check_run(number: int, name: str, conclusion: str | None, app: str) -> dict[str, Any]:
    output, state = {"title": "Title"}, "completed" if conclusion else "queued"
    known = {"id": number, "name": name, "status": state, "conclusion": conclusion, "output": output}
    return {**known, "app": {"slug": app}, "details_url": f"https://x/c{number}"}


REST = {
    RUNS: {"workflow_runs": [workflow_run(1), workflow_run(2, name="Slow", status="queued", conclusion=None)]},
    f"{RUNS}/1/jobs": {"jobs": [job(11, "test", "failure"), job(12, "lint", None, "in_progress")]},
    f"{RUNS}/2/jobs": {"jobs": []},
    CHECKS: {
        "check_runs": [check_run(11, "test", "failure", "github-actions"), check_run(9, "scan", "success", "s")]
    },
    STATUSES: {
        "statuses": [{"context": "ci/x", "state": "pending", "description": None, "target_url": "https://x/s"}]
    },
}


def test_runs_and_jobs_stand_in_for_a_rollup_that_is_refused() -> None:
    reported, unread = by_rest(Values(rest=REST), "acme/widgets", HEAD)
    found = judged(reported, (), {})
    assert unread == ""
    assert found.checks == (
        Check("test", FAILED, required=False, summary="failure"),
        Check("lint", PENDING, required=False, summary="in progress"),
        Check("Slow", PENDING, required=False, summary="queued"),
        Check("scan", PASSED, required=False, summary="success: Title"),
        Check("ci/x", PENDING, required=False, summary="pending"),
    )
    assert (found.failed_jobs, found.runs) == ({"test": (11,)}, {"test": (1,), "lint": (1,), "Slow": (2,)})
    assert found.links["test"] == "https://x/j11"
    assert found.links["scan"] == "https://x/c9"
    assert found.links["ci/x"] == "https://x/s"


def test_a_run_that_waits_for_approval_has_no_job_and_is_there() -> None:
    waiting = {RUNS: {"workflow_runs": [workflow_run(2, conclusion="action_required")]}}
    (found,) = judged(by_rest(Values(rest={**REST, **waiting}), "acme/widgets", HEAD)[0], (), {}).checks[:1]
    assert found == Check("CI", PENDING, required=False, summary="a person must approve the run at https://x/2")


def test_jobs_of_two_workflows_and_events_are_told_apart_by_rest_too() -> None:
    runs = [workflow_run(1), workflow_run(3, workflow_id=6), workflow_run(4, event="push")]
    jobs = {f"{RUNS}/{n}/jobs": {"jobs": [job(n * 11, "test", c)]} for n, c in ((3, "success"), (4, "skipped"))}
    client = Values(rest={**REST, RUNS: {"workflow_runs": runs}, **jobs})
    found = judged(by_rest(client, "acme/widgets", HEAD)[0], (), {})
    assert found.runs["test"] == (1,)
    runs[0] |= {"workflow_id": 6, "event": "push"}  # 4 is newer, 3 of another workflow
    jobs |= {f"{RUNS}/1/jobs": {"jobs": [job(11, "test", "success")]}}
    client = Values(rest={**REST, RUNS: {"workflow_runs": runs}, **jobs})
    found = judged(by_rest(client, "acme/widgets", HEAD)[0], (), {})
    assert found.runs["test"] == (3, 1, 4)


def test_what_one_part_refuses_another_may_tell() -> None:
    reported, unread = by_rest(Values(rest={**REST, RUNS: 403}), "acme/widgets", HEAD)
    assert [r.name for r in reported] == ["test", "scan", "ci/x"]
    assert unread == f"the token may not read the workflow runs of {HEAD[:10]}"
    reported, unread = by_rest(Values(rest={**REST, CHECKS: 403, STATUSES: 404}), "acme/widgets", HEAD)
    assert [r.name for r in reported] == ["test", "lint", "Slow"]
    assert unread == f"the token may not read the check runs and commit statuses of {HEAD[:10]}"


def test_a_token_that_may_read_nothing_knows_no_checks_and_says_so() -> None:
    reported, unread = by_rest(Values(), "acme/widgets", HEAD)
    assert reported == []
    assert unread == f"the token may not read the workflow runs and check runs and commit statuses of {HEAD[:10]}"


def test_no_answer_is_not_a_refusal() -> None:
    with pytest.raises(ForgeBusy):
        by_rest(Values(rest={**REST, CHECKS: ForgeBusy("later", 1.0)}), "acme/widgets", HEAD)


class Paged(Values):
    """Tells one item to a page: whoever reads the first alone misses the rest. Keeps what lists were asked with."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.parameters: dict[str, dict[str, Any]] = {}

    def get(self, path: str, **parameters: Any) -> Any:
        found = super().get(path, **parameters)
        return found[:1] if isinstance(found, list) else {key: value[:1] for key, value in found.items()}

    def pages(self, path: str, key: str = "", **parameters: Any) -> list[Any]:
        self.parameters[path] = parameters
        found = super().get(path)
        return list(found[key] if key else found)


def test_runs_jobs_checks_statuses_and_rules_are_read_to_the_last_page() -> None:
    statuses = [{"context": c, "state": "success", "description": None, "target_url": None} for c in ("x", "y")]
    rules = [
        {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": c}]}}
        for c in ("test", "lint")
    ]
    rest = {**REST, STATUSES: {"statuses": statuses}, f"{AT}/rules/branches/main": rules}
    reported, _ = by_rest(Paged(rest=rest), "acme/widgets", HEAD)
    assert [r.name for r in reported] == ["test", "lint", "Slow", "scan", "x", "y"]
    assert contexts_by_rules(Paged(rest=rest), "acme/widgets", "main") == ("test", "lint")


def test_only_the_commits_own_runs_and_newest_attempts_are_asked_for() -> None:
    client = Paged(rest=REST)
    by_rest(client, "acme/widgets", HEAD)
    latest = {"filter": "latest"}
    assert client.parameters == {
        RUNS: {"head_sha": HEAD},
        f"{RUNS}/1/jobs": latest,
        f"{RUNS}/2/jobs": latest,
        CHECKS: latest,
        STATUSES: {},
    }


def test_annotations_may_be_refused() -> None:
    path = f"{AT}/check-runs/11/annotations"
    assert annotations_by_rest(Values(rest={path: [{"title": "", "message": "M"}]}), "acme/widgets", 11) == "M"
    assert annotations_by_rest(Values(), "acme/widgets", 11) == ""


def test_rulesets_require_checks() -> None:
    rules = [
        {"type": "deletion"},
        {"type": "pull_request", "parameters": {"required_approving_review_count": 1}},
        {"type": "required_status_checks", "parameters": {"required_status_checks": [{"context": "test"}]}},
        {
            "type": "required_status_checks",
            "parameters": {"required_status_checks": [{"context": "lint"}, {"context": "test"}]},
        },
    ]
    path = f"{AT}/rules/branches/release%2F1"
    assert contexts_by_rules(Values(rest={path: rules}), "acme/widgets", "release/1") == ("test", "lint")
    assert contexts_by_rules(Values(rest={path: 403}), "acme/widgets", "release/1") == ()


class Revoked(Values):
    """A token that was revoked."""

    def get(self, path: str, **_: Any) -> Any:
        raise Unauthorised(f"GET {path}: 401", 401, "Bad credentials")


def test_a_token_that_was_revoked_is_not_one_that_lacks_a_right() -> None:
    client = Revoked()
    with pytest.raises(Unauthorised):
        by_rest(client, "acme/widgets", HEAD)
    with pytest.raises(GithubRefused):
        annotations_by_rest(client, "acme/widgets", 11)
    with pytest.raises(GithubRefused):
        contexts_by_rules(client, "acme/widgets", "main")


# --- between two jobs ---------------------------------------------------------------------------------------------


def going_on(node: dict[str, Any]) -> dict[str, Any]:
    return node | {"checkSuite": node["checkSuite"] | {"status": "IN_PROGRESS"}}


def test_a_workflow_that_goes_on_is_not_green_though_every_job_of_it_that_is_told_passed() -> None:
    found = checks(going_on(run(1, "build", "SUCCESS", workflow="CI")), run(2, "lint", "SUCCESS", workflow="Lint"))
    assert states(found) == {"build": PASSED, "lint": PASSED, "CI": PENDING}
    assert found.goes_on
    assert not next(c for c in found.checks if c.name == "CI").required


def test_a_workflow_that_is_called_like_its_job_is_told_from_it() -> None:
    found = checks(going_on(run(1, "build", "SUCCESS", workflow="build")))
    assert states(found) == {"build": PASSED, "build (workflow)": PENDING}


def test_while_a_job_of_it_runs_that_says_enough() -> None:
    found = checks(going_on(run(1, "build", "SUCCESS")), going_on(run(1, "test", None, "IN_PROGRESS")))
    assert states(found) == {"build": PASSED, "test": PENDING}
    assert not found.goes_on


def test_an_app_that_never_ends_its_suite_is_not_waited_for() -> None:
    assert states(checks(going_on(run(1, "scan", "SUCCESS", app="scanner")))) == {"scan": PASSED}
