"""Pull requests read from GitHub: how many requests that takes, what makes one be read again, what may be lacking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse, validate

from claudetm.adapters.forge.github import query
from claudetm.adapters.forge.github.place import Hosted
from claudetm.adapters.forge.github.pull import Mergeable, Pull, PushedCommit
from claudetm.adapters.forge.github.reading import OLDEST, Reading
from claudetm.adapters.forge.github.refusals import NotFound, TooMuch
from claudetm.adapters.forge.github.reviews import mark
from claudetm.errors import ForgeBusy, ForgeError
from claudetm.workflow.pull_request import Check, CheckState, PullRequestState
from github_double.graphql_cost import cost
from github_values import (
    BASE,
    HEAD,
    HOSTED,
    Values,
    bot,
    commit,
    pull,
    review,
    run,
    said,
    schema,
    status,
    thread,
    user,
)

ADA = user("ada")
PENDING, PASSED, FAILED = CheckState.PENDING, CheckState.PASSED, CheckState.FAILED
AT = "/repos/acme/widgets"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def reading(client: Values, clock: Clock | None = None, hosted: Hosted = HOSTED, *trusted: str) -> Reading:
    return Reading(client, hosted, "main", lambda: trusted, "tm@acme.org", clock or Clock())


def read(data: dict[str, Any], **rest: Any) -> Pull:
    return reading(Values(data, rest=rest)).pull(data["number"])


# --- the texts ----------------------------------------------------------------------------------------------------

TEXTS = {
    "light": query.light(range(1, 51)),
    "full": query.full(range(1, query.BATCH + 1)),
    "checks": query.more_checks(12),
    **{part: query.more(12, part) for part in query.PARTS},
    "remarks": query.MORE_REMARKS,
    "failed": query.FAILED_RUNS,
    "commit": query.COMMIT_CHECKS,
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_query_is_valid_on_githubs_schema(name: str) -> None:
    assert [e.message for e in validate(schema(), parse(TEXTS[name]))] == []


@pytest.mark.parametrize(("name", "points"), [("light", 2), ("full", 11), ("failed", 1), ("checks", 1)])
def test_what_queries_cost_by_githubs_formula(name: str, points: int) -> None:
    document = parse(TEXTS[name])
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    found = cost(schema(), document, operation, {"ids": ["x"] * 100, "after": "x"})
    assert found.points == points
    assert found.nodes < 500_000


def test_an_hour_of_waiting_on_fifty_costs_a_fifth_of_the_quota_at_most() -> None:
    polls, in_full = 3600 / 20, 3600 / OLDEST
    assert polls * 2 + in_full * 5 * 11 <= 0.2 * 5000


# --- how many requests --------------------------------------------------------------------------------------------


def fifty() -> Values:
    return Values(*(pull(n) for n in range(1, 51)))


def test_fifty_that_did_not_change_are_one_request() -> None:
    client = fifty()
    reads = reading(client)
    first = reads.pulls(range(1, 51))
    assert client.operations == ["Full"] * 5
    client.asked.clear()
    assert reads.pulls(range(1, 51)) == first
    assert client.operations == ["Light"]
    assert list(first) == list(range(1, 51))


def test_some_that_changed_are_two_requests_and_only_they_are_read_in_full() -> None:
    client = fifty()
    reads = reading(client)
    reads.pulls(range(1, 51))
    client.asked.clear()
    client.now[7]["comments"] = [said(1, ADA, "Wait")]
    client.now[9]["isDraft"] = True
    found = reads.pulls(range(1, 51))
    assert client.operations == ["Light", "Full"]
    assert [n for n in range(1, 51) if f"p{n}: " in client.asked[1]] == [7, 9]
    assert [t.id for t in found[7].threads] == ["comment-1"]
    assert found[9].withheld == "it is a draft"


def test_numbers_are_asked_for_once_and_none_is_no_request() -> None:
    client = fifty()
    assert list(reading(client).pulls([3, 3, 4])) == [3, 4]
    assert client.asked[0].count("p3: ") == 1
    client.asked.clear()
    assert reading(client).pulls([]) == {}
    assert client.asked == []


def test_what_is_read_for_the_first_time_goes_with_what_changed() -> None:
    client = fifty()
    reads = reading(client)
    reads.pulls([1])
    client.asked.clear()
    client.now[1]["isDraft"] = True
    reads.pulls([1, 2])
    assert client.operations == ["Light", "Full"]


def test_what_was_read_too_long_ago_is_read_again_with_no_third_request() -> None:
    client, clock = fifty(), Clock()
    reads = reading(client, clock)
    reads.pulls(range(1, 11))
    clock.now += 1
    reads.pulls(range(1, 51))
    clock.now += OLDEST - 2
    client.asked.clear()
    reads.pulls(range(1, 51))
    assert client.operations == ["Light"]
    clock.now += 1
    client.now[30]["isDraft"] = True
    client.asked.clear()
    reads.pulls(range(1, 51))
    assert client.operations == ["Light", "Full"]
    assert sorted(n for n in range(1, 51) if f"p{n}: " in client.asked[1]) == [*range(1, 10), 30]
    clock.now += 1
    client.asked.clear()
    reads.pulls(range(1, 51))
    assert "p10: " in client.asked[1]
    assert "p30: " not in client.asked[1]


def test_one_that_is_asked_for_alone_is_read_in_full_unless_it_need_not_be() -> None:
    client = Values(pull(12))
    reads = reading(client)
    reads.pull(12)
    reads.pull(12)
    assert client.operations == ["Full", "Full"]
    reads.pull(12, fresh=False)
    assert client.operations == ["Full", "Full", "Light"]


class Slow(Values):
    """Breaks off over questions about more pull requests than it manages; those of `heavy` never come."""

    def __init__(self, most: int, *heavy: int, kind: str = "Full") -> None:
        super().__init__(*(pull(n) for n in range(1, 51)))
        self.most, self.heavy, self.kind = most, heavy, kind

    def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        found = super().graphql(text, **variables)
        hard = text.count(": pullRequest(") > self.most or any(f"p{n}: " in text for n in self.heavy)
        if text.startswith(f"query {self.kind}") and hard:
            raise TooMuch("api.github.com gives no answer (it answered 502): it is asked again at 10:00", 1.0)
        return found


@pytest.mark.parametrize(("most", "asked"), [(5, 1 + 10), (4, 1 + 1 + 25), (1, 3 + 50)])
def test_where_github_comes_to_no_answer_it_is_asked_less_at_once_and_for_an_hour(most: int, asked: int) -> None:
    client, clock = Slow(most), Clock()
    reads = reading(client, clock)
    assert list(reads.pulls(range(1, 51))) == list(range(1, 51))
    assert len(client.asked) == asked
    for n in (1, 2, 3, 4, 5):
        client.now[n]["isDraft"] = True
    client.asked.clear()
    reads.pulls(range(1, 51))
    assert len(client.asked) == 1 + -(-5 // {5: 5, 4: 2, 1: 1}[most])
    clock.now += 3600
    client.asked.clear()
    reads.pull(7)
    client.most = 10
    reads.pulls(range(1, 51))
    assert client.asked[-1].count(": pullRequest(") == query.BATCH


def test_the_light_question_is_halved_too() -> None:
    client = Slow(25, kind="Light")
    reads = reading(client)
    reads.pulls(range(1, 51))
    client.asked.clear()
    reads.pulls(range(1, 51))
    assert client.operations == ["Light"] * 3
    client.asked.clear()
    reads.pulls(range(1, 51))
    assert client.operations == ["Light"] * 2


def test_where_github_is_down_no_question_is_taken_for_too_large() -> None:
    client = Slow(0)
    reads = reading(client)
    with pytest.raises(TooMuch):
        reads.pulls(range(1, 51))
    assert [text.count(": pullRequest(") for text in client.asked] == [10, 5, 2, 1, 1]
    client.most = 50
    client.asked.clear()
    reads.pulls(range(1, 51))
    assert client.operations == ["Full"] * 5
    with pytest.raises(TooMuch):
        reading(Slow(0)).pull(7)


def test_one_that_github_never_manages_does_not_hold_up_the_others() -> None:
    client = Slow(50, 1)
    reads = reading(client)
    assert list(reads.pulls([1, 2, 3])) == [2, 3]
    with pytest.raises(TooMuch) as busy:
        reads.pulls([1])
    assert busy.value.alone


def test_one_that_github_never_manages_does_not_hold_up_those_that_were_read_before() -> None:
    client = Slow(50, 2)
    reads = reading(client)
    assert list(reads.pulls([1, 2, 3])) == [1, 3]
    client.now[3]["isDraft"] = True
    assert reads.pulls([1, 2, 3])[3].withheld == "it is a draft"
    assert list(reads.pulls([1, 2, 3])) == [1, 3]
    client.heavy = ()
    assert list(reads.pulls([1, 2, 3])) == [1, 2, 3]
    client.heavy = (2,)
    reads.forget(2)
    assert list(reads.pulls([1, 2, 3])) == [1, 3]
    client.now[1]["isDraft"], client.now[3]["isDraft"] = True, False
    client.heavy = (1, 2, 3)
    with pytest.raises(TooMuch):  # nothing is known of any
        reads.pulls([1, 2, 3])


def test_an_answer_that_broke_off_is_asked_for_in_parts() -> None:
    class Broke(Values):
        def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
            data, errors = super().graphql(text, **variables)
            if text.count(": pullRequest(") > 2:
                data["repository"]["p1"] = None
                errors = [{"type": "RESOURCE_LIMITS_EXCEEDED", "path": ["repository", "p1"], "message": "Too much"}]
            return data, errors

    client = Broke(pull(1), pull(2), pull(3))
    assert list(reading(client).pulls([1, 2, 3])) == [1, 2, 3]
    assert client.operations == ["Full"] * 4


# --- what makes one be read again ---------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "updated": lambda p: p.update(updatedAt="2026-05-02T00:00:00Z"),
    "closed": lambda p: p.update(state="CLOSED"),
    "draft": lambda p: p.update(isDraft=True),
    "pushed": lambda p: p.update(headRefOid="c" * 40),
    "retargeted": lambda p: p.update(baseRefName="next"),
    "base deleted": lambda p: p.update(baseRef=None),
    "reviewed": lambda p: p.update(reviewDecision="CHANGES_REQUESTED"),
    "queued": lambda p: p.update(isInMergeQueue=True),
    "auto-merge": lambda p: p.update(autoMergeRequest={"enabledAt": "2026-05-02T00:00:00Z", "enabledBy": ADA}),
    "a check began": lambda p: p["rollup"].append(run(3, "docs", None, "QUEUED")),
    "a check failed": lambda p: p["rollup"][0].update(conclusion="FAILURE"),
    "a status came": lambda p: p["rollup"][1].update(state="SUCCESS"),
    "the checks turned": lambda p: p.update(rollupState="FAILURE"),
    "no checks": lambda p: p.update(rollup=None),
    "a thread began": lambda p: p["reviewThreads"].append(thread("T2", said(8, ADA, "Hm"))),
    "a thread was resolved": lambda p: p["reviewThreads"][0].update(isResolved=True),
    "a comment came": lambda p: p["comments"].append(said(9, ADA, "Hm")),
    "a review came": lambda p: p["reviews"].append(review(9, ADA, "COMMENTED")),
    "the rules changed": lambda p: p.update(mergeStateStatus="BLOCKED"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_is_read_in_full_where_something_happened_to_it(change: str) -> None:
    checks = [run(1, "test", "SUCCESS"), status("ci/x", "PENDING")]
    client = Values(pull(12, rollup=checks, reviewThreads=[thread("T1", said(1, ADA, "Why?"))]))
    reads = reading(client)
    reads.pull(12)
    client.asked.clear()
    CHANGES[change](client.now[12])
    reads.pulls([12])
    assert client.operations[:2] == ["Light", "Full"]


def test_a_thread_beyond_the_hundredth_is_noticed() -> None:
    threads = [thread(f"T{n}", said(n, ADA, "Why?")) for n in range(100)]
    client = Values(pull(12, reviewThreads=threads))
    reads = reading(client)
    reads.pull(12)
    threads.append(thread("T100", said(100, ADA, "Why?")))
    assert len(reads.pulls([12])[12].threads) == 101


def test_the_oldest_are_read_again_first() -> None:
    client, clock = fifty(), Clock()
    reads = reading(client, clock)
    reads.pulls(range(36, 41))
    clock.now += 1
    reads.pulls(range(1, 36))
    clock.now += OLDEST
    client.asked.clear()
    reads.pulls(range(1, 41))
    again = [n for n in range(1, 41) if f"p{n}: " in client.asked[1]]
    assert len(again) == query.BATCH
    assert again[5:] == list(range(36, 41))


def test_a_push_to_the_base_costs_nothing_more_and_is_told() -> None:
    client = Values(*(pull(n, rollup=[run(1, "test", "SUCCESS")]) for n in (1, 2)))
    reads = reading(client)
    before = reads.pulls([1, 2])
    client.asked.clear()
    for n in (1, 2):
        client.now[n]["baseRef"] = {**client.now[n]["baseRef"], "target": {"__typename": "Commit", "oid": "c" * 40}}
        client.now[n] |= {"mergeable": "UNKNOWN", "mergeStateStatus": "UNKNOWN"}
    found = reads.pulls([1, 2])
    assert (found[1].base, found[1].mergeable, found[1].status) == ("c" * 40, Mergeable.UNKNOWN, "UNKNOWN")
    assert found[1].checks == before[1].checks
    client.now[1] |= {"mergeable": "MERGEABLE", "mergeStateStatus": "BEHIND"}
    assert reads.pulls([1, 2])[1].status == "BEHIND"
    client.now[1] |= {"mergeable": "CONFLICTING", "mergeStateStatus": "DIRTY"}
    client.now[2] |= {"mergeable": "MERGEABLE", "mergeStateStatus": "CLEAN"}
    found = reads.pulls([1, 2])
    assert (found[1].mergeable, found[1].status) == (Mergeable.CONFLICTING, "DIRTY")
    assert found[2] == Pull(**{**_fields(before[2]), "base": "c" * 40})
    assert client.operations == ["Light", "Light", "Light"]


def _fields(of: Pull) -> dict[str, Any]:
    return {name: getattr(of, name) for name in Pull.__slots__}


def test_a_judgement_that_changed_over_a_push_to_the_base_is_looked_into() -> None:
    client = Values(pull(12))
    reads = reading(client)
    reads.pull(12)
    client.now[12]["mergeStateStatus"] = "UNKNOWN"
    reads.pulls([12])
    client.asked.clear()
    client.now[12]["mergeStateStatus"] = "BLOCKED"
    reads.pulls([12])
    assert client.operations == ["Light", "Full"]


# --- every field --------------------------------------------------------------------------------------------------


def test_every_field_of_an_open_one_is_told() -> None:
    data = pull(
        12,
        reviewDecision="REVIEW_REQUIRED",
        isMergeQueueEnabled=True,
        autoMergeRequest={"enabledAt": "2026-05-02T00:00:00Z", "enabledBy": ADA},
        rollup=[run(1, "test", "CANCELLED", isRequired=True)],
        reviewThreads=[thread("T1", said(5, ADA, "Why?"), said(6, user("robin"), f"So.\n{mark('m1')}"))],
        reviews=[
            review(7, ADA, "APPROVED"),
            review(11, user("bob"), "APPROVED"),
            review(8, user("robin"), "CHANGES_REQUESTED"),
        ],
        comments=[said(9, user("eve"), "Boo"), said(10, ADA, "Hello")],
    )
    found = read(data, **{f"{AT}/collaborators/bob/permission": {"permission": "write"}})
    assert (found.id, found.number, found.title, found.body) == ("PR12", 12, "Greet", "Why.")
    assert found.url == "https://github.com/acme/widgets/pull/12"
    assert (found.state, found.draft, found.by, found.merge_commit) == (PullRequestState.OPEN, False, "", "")
    assert (found.branch, found.head, found.target, found.base) == ("claudetm/r1/c12", HEAD, "main", BASE)
    assert (found.head_repository, found.branch_there, found.writable) == ("acme/widgets", True, True)
    assert (found.mergeable, found.status) == (Mergeable.MERGEABLE, "CLEAN")
    assert found.checks == (Check("test", FAILED, required=True, summary="cancelled"),)
    assert (found.failed_jobs, found.runs) == ({"test": (1,)}, {"test": (10,)})
    assert found.broken == {"test": "it was cancelled"}
    assert found.links == {"test": "https://github.com/acme/widgets/runs/1"}
    assert [t.id for t in found.threads] == ["T1", "comment-10"]
    assert (found.replies, found.markers) == ({"T1": 5}, {"m1": "T1"})
    assert found.resolvable == {"T1"}
    assert found.quoted == {"comment-10": "https://github.com/acme/widgets/pull/12#c10"}
    assert (found.approvals, found.approved, found.objections) == (2, ("ada", "bob"), ("robin",))
    assert found.withheld == "a review is required by the rules of main"
    assert (found.unheard, [t.id for t in found.ignored]) == (("eve",), ["remark-9"])
    assert (found.queue, found.queued, found.auto_merge) == (True, False, "ada")
    assert (found.may_auto_merge, found.deletes_branch, found.unread) == (True, False, "")
    assert found.commits == (PushedCommit(HEAD, "ada", "ada@acme.org", bot=False, listened=True, merge=False),)


def test_who_merged_it_and_as_which_commit() -> None:
    merged = {"state": "MERGED", "mergeCommit": {"oid": "c" * 40}, "mergeStateStatus": "UNKNOWN", "headRef": None}
    closed = {"timelineItems": [{"__typename": "ClosedEvent", "actor": user("eve")}]}
    found = read(pull(12, **merged, **closed, mergedBy=bot("queue")))
    assert (found.state, found.by, found.merge_commit) == (PullRequestState.MERGED, "queue[bot]", "c" * 40)
    assert not found.branch_there
    assert read(pull(12, **merged, **closed)).by == "somebody"


def test_who_closed_it_unmerged() -> None:
    def closed(*events: Any) -> Pull:
        return read(
            pull(12, state="CLOSED", timelineItems=[{"__typename": "ClosedEvent", "actor": e} for e in events])
        )

    assert (closed(user("eve")).state, closed(user("eve")).by) == (PullRequestState.CLOSED, "eve")
    assert closed(user("eve"), ADA).by == "ada"
    assert closed(None).by == "somebody"
    assert closed().by == "somebody"


def test_a_branch_of_a_fork_is_writable_where_its_owner_allows_that() -> None:
    fork = {"isCrossRepository": True, "headRepository": {"nameWithOwner": "ada/widgets"}}
    assert read(pull(12, **fork)).head_repository == "ada/widgets"
    assert not read(pull(12, **fork)).writable
    assert read(pull(12, **fork, maintainerCanModify=True)).writable
    assert read(pull(12, isCrossRepository=True, headRepository=None)).head_repository == ""


@pytest.mark.parametrize("mergeable", list(Mergeable))
def test_whether_it_can_be_merged_is_what_github_says_of_that_alone(mergeable: Mergeable) -> None:
    assert read(pull(12, mergeable=mergeable.value, mergeStateStatus="BLOCKED")).mergeable is mergeable


def test_a_branch_that_is_gone_is_told_from_a_fork_that_is() -> None:
    assert not read(pull(12, headRef=None)).branch_there
    gone = read(pull(12, headRepository=None))
    assert (gone.branch_there, gone.head_repository) == (True, "")


def test_a_base_that_is_gone_has_no_tip() -> None:
    assert read(pull(12, baseRef=None)).base == ""


def test_auto_merge_is_somebodys_where_nobody_is_named() -> None:
    asked = {"enabledAt": "2026-05-02T00:00:00Z", "enabledBy": None}
    assert read(pull(12, autoMergeRequest=asked)).auto_merge == "somebody"
    assert read(pull(12)).auto_merge == ""


def test_whose_commits_are_taken() -> None:
    app = "49699333+dependabot[bot]@users.noreply.github.com"
    data = pull(
        12,
        commits=[
            commit("1", "ada", "ada@acme.org"),
            commit("2", "eve", "eve@acme.org", parents=2),
            commit("3", "", "TM@acme.org"),
            commit("4", "", app),
            commit("5", "", "nobody@acme.org"),
        ],
    )
    found = reading(Values(data)).pull(12).commits
    assert found[1:] == (
        PushedCommit("2", "eve", "eve@acme.org", bot=False, listened=False, merge=True),
        PushedCommit("3", "", "TM@acme.org", bot=False, listened=True, merge=False),
        PushedCommit("4", "dependabot[bot]", app, bot=True, listened=False, merge=False),
        PushedCommit("5", "", "nobody@acme.org", bot=False, listened=False, merge=False),
    )
    trusting = reading(Values(data), None, HOSTED, "Dependabot[bot]", "eve").pull(12).commits
    assert [c.listened for c in trusting] == [True, True, True, True, False]


def test_no_address_is_nobodys_and_one_in_the_queue_is_queued() -> None:
    client = Values(pull(12, commits=[commit("1", "", "")], isInMergeQueue=True))
    found = Reading(client, HOSTED, "main", list, "", Clock()).pull(12)
    assert (found.commits[0].listened, found.queue, found.queued) == (False, False, True)


def test_the_newest_fifty_commits_are_told() -> None:
    found = read(pull(12, commits=[commit(str(n)) for n in range(60)])).commits
    assert [c.id for c in found] == [str(n) for n in range(10, 60)]


# --- further pages ------------------------------------------------------------------------------------------------


def test_every_list_is_read_to_its_last_page() -> None:
    data = pull(
        12,
        rollup=[run(n, f"test {n}", "SUCCESS") for n in range(1, 251)],
        reviewThreads=[
            thread(
                f"T{n}",
                *(said(n * 1000 + i, ADA, f"{i}", f"1{i // 60}:{i % 60:02}") for i in range(170 if n == 60 else 1)),
            )
            for n in range(1, 121)
        ],
        reviews=[review(500_000 + n, ADA, "COMMENTED", "Hm") for n in range(230)],
        comments=[said(600_000 + n, ADA, "Hm") for n in range(205)],
    )
    client = Values(data)
    found = reading(client).pull(12)
    assert len(found.checks) == 250
    names = [t.id for t in found.threads]
    assert len([n for n in names if n.startswith("T")]) == 120
    assert len([n for n in names if n.startswith("review-")]) == 230
    assert len([n for n in names if n.startswith("comment-")]) == 205
    assert {t.id: len(t.comments) for t in found.threads}["T60"] == 170
    assert client.operations.count("MoreChecks") == 2
    assert client.operations.count("MoreRemarks") == 2
    assert client.operations.count("More") == 2 + 2 + 2


def test_a_page_that_does_not_come_is_no_end_of_the_list() -> None:
    client = Values(pull(12, reviews=[review(n, ADA, "COMMENTED", "Hm") for n in range(101)]))

    class Torn(Values):
        def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
            self.forbidden = {"reviews": "INTERNAL"} if text.startswith("query More(") else {}
            return super().graphql(text, **variables)

    with pytest.raises(ForgeBusy, match="told only a part of pull request #12"):
        reading(Torn(*client.now.values())).pull(12)


def test_a_remark_that_does_not_come_is_not_left_out_and_its_author_may_be() -> None:
    class Torn(Values):
        lost = "body"

        def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
            self.forbidden = {self.lost: "INTERNAL"} if text.startswith("query MoreRemarks") else {}
            return super().graphql(text, **variables)

    client = Torn(pull(12, reviewThreads=[thread("T1", *(said(n, ADA, "Hm") for n in range(51)))]))
    with pytest.raises(ForgeBusy):
        reading(client).pull(12)
    client.lost = "author"
    assert len(reading(client).pull(12).threads[0].comments) == 50


# --- what is lacking ----------------------------------------------------------------------------------------------


def test_a_number_that_is_none_is_said() -> None:
    with pytest.raises(NotFound, match=r"There is no pull request #13 in acme/widgets\.") as told:
        reading(Values(pull(12))).pulls([12, 13])
    assert not isinstance(told.value, ForgeBusy)


def test_a_repository_that_is_not_there_is_said() -> None:
    client = Values(pull(12))
    client.there = False
    with pytest.raises(ForgeError, match="acme/widgets is not there, or not for this token"):
        reading(client).pull(12)


@pytest.mark.parametrize("part", ["reviews", "comments", "reviewThreads", "commits", "remarked", "judged", "talked"])
def test_a_list_that_github_kept_back_is_not_taken_for_empty(part: str) -> None:
    client, clock = Values(pull(12)), Clock()
    client.forbidden = {part: "INTERNAL"}
    with pytest.raises(ForgeBusy, match="Resource not accessible") as told:
        reading(client, clock).pull(12)
    assert told.value.until == clock.now + 30
    client.forbidden = {part: "FORBIDDEN"}
    with pytest.raises(ForgeError, match=r"The token may not read all of pull request #12 \(Resource") as shut:
        reading(client, clock).pull(12)
    assert not isinstance(shut.value, ForgeBusy)


class Holed(Values):
    """Tells of one pull request everything but its comments' bodies."""

    def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
        data, errors = super().graphql(text, **variables)
        if "comments(first: 100" in text and "p2: " in text:
            path = ["repository", "p2", "comments", "nodes", 0, "body"]
            errors = [*errors, {"type": "INTERNAL", "path": path, "message": "It fails over this one"}]
        return data, errors


def test_one_that_is_told_in_part_does_not_hold_up_the_others() -> None:
    client = Holed(pull(1), pull(2), pull(3))
    reads = reading(client)
    assert list(reads.pulls([1, 2, 3])) == [1, 3]
    client.now[3]["isDraft"] = True
    found = reads.pulls([1, 2, 3])
    assert (list(found), found[3].withheld) == ([1, 3], "it is a draft")
    for ask in (lambda: reads.pulls([2]), lambda: reads.pull(2)):
        with pytest.raises(ForgeBusy, match=r"told only a part of pull request #2 \(It fails over this one\)"):
            ask()


@pytest.mark.parametrize("path", [[], ["repository"], ["rateLimit", "cost"], ["repository", "owner", "login"]])
def test_what_goes_wrong_over_one_alone_is_of_that_one_wherever_it_is_said_to_be(
    path: list[str],
) -> None:
    class Vague(Values):
        def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
            data, errors = super().graphql(text, **variables)
            if "p2: " in text:
                errors = [{"message": "Something went wrong: timeout", "path": path}]
            return data, errors

    reads = reading(Vague(pull(1), pull(2), pull(3)))
    assert list(reads.pulls([1, 2, 3])) == [1, 3]
    assert list(reads.pulls([1, 2, 3])) == [1, 3]
    with pytest.raises(ForgeBusy, match=r"told only a part of pull request #2") as busy:
        reads.pull(2)
    assert busy.value.alone


def test_what_was_read_before_is_not_told_of_one_that_is_told_in_part_now() -> None:
    client = Values(pull(1), pull(2), pull(3))
    reads = reading(client)
    reads.pulls([1, 2, 3])
    client.now[2] = {**client.now[2], "isDraft": True, "updatedAt": None}  # GitHub never says null there
    assert list(reads.pulls([1, 2, 3])) == [1, 3]
    client.now[2]["updatedAt"] = "2026-05-02T00:00:00Z"
    assert reads.pulls([1, 2, 3])[2].withheld == "it is a draft"


@pytest.mark.parametrize("part", ["headRepository", "headRef", "refUpdateRule", "mergedBy"])
def test_what_nothing_is_decided_by_may_be_kept_back(part: str) -> None:
    client = Values(pull(12, state="CLOSED"))
    client.forbidden = {part: "FORBIDDEN"}
    found = reading(client).pull(12)
    assert (found.number, found.by) == (12, "somebody")


def test_an_account_that_is_kept_back_is_not_listened_to() -> None:
    client = Values(pull(12, comments=[said(1, ADA, "Hm")]))
    client.forbidden = {"author": "FORBIDDEN"}
    found = reading(client).pull(12)
    assert (found.threads, found.unheard) == ((), ("ghost",))


# --- required checks ----------------------------------------------------------------------------------------------


def protected(*contexts: str) -> dict[str, Any]:
    return {
        "target": {"__typename": "Commit", "oid": BASE},
        "refUpdateRule": {"requiredStatusCheckContexts": [*contexts]},
    }


def ruled(*contexts: str) -> dict[str, Any]:
    checks = [{"context": c} for c in contexts]
    return {
        f"{AT}/rules/branches/main": [
            {"type": "required_status_checks", "parameters": {"required_status_checks": checks}}
        ]
    }


def test_required_checks_that_are_silent_are_pending_by_protection_and_by_rulesets() -> None:
    found = read(pull(12, baseRef=protected("test"), rollup=None), **ruled("lint"))
    assert [(c.name, c.state, c.summary) for c in found.checks] == [
        ("lint", PENDING, "has not reported"),
        ("test", PENDING, "has not reported"),
    ]


def test_rules_that_may_not_be_read_require_nothing() -> None:
    assert read(pull(12), **{f"{AT}/rules/branches/main": 403}).checks == ()


def test_nothing_is_waited_for_once_it_is_closed() -> None:
    assert read(pull(12, state="CLOSED", baseRef=protected("test")), **ruled("lint")).checks == ()


def test_rules_of_a_branch_are_asked_for_every_ten_minutes() -> None:
    client, clock = Values(pull(1), pull(2), pull(3, baseRefName="next")), Clock()
    reads = reading(client, clock)
    reads.pulls([1, 2, 3])
    clock.now += OLDEST - 1
    reads.pull(1)
    assert [p for p in client.paths if "rules" in p] == [f"{AT}/rules/branches/main", f"{AT}/rules/branches/next"]
    clock.now += 1
    client.rest |= ruled("lint")
    assert [c.name for c in reads.pull(1).checks] == ["lint"]


# --- a rollup that is refused -------------------------------------------------------------------------------------

RUN = {
    "id": 1,
    "name": "CI",
    "workflow_id": 5,
    "event": "pull_request",
    "status": "completed",
    "conclusion": "failure",
    "html_url": "https://x/1",
}
JOB = {"id": 11, "name": "test", "status": "completed", "conclusion": "failure", "html_url": "https://x/j"}
REST = {
    f"{AT}/actions/runs": {"workflow_runs": [RUN]},
    f"{AT}/actions/runs/1/jobs": {"jobs": [JOB]},
    f"{AT}/commits/{HEAD}/check-runs": {"check_runs": []},
    f"{AT}/commits/{HEAD}/status": {"statuses": []},
    f"{AT}/check-runs/11/annotations": [{"title": "", "message": "The hosted runner encountered an error"}],
}


@pytest.mark.parametrize("part", ["rollup", "counts", "checks", "contexts"])
def test_where_the_rollup_is_refused_the_runs_are_asked(part: str) -> None:
    client = Values(pull(12, rollup=[run(1, "other", "SUCCESS")]), rest=REST)
    client.forbidden = {part: "FORBIDDEN"}
    found = reading(client).pull(12)
    assert [(c.name, c.state) for c in found.checks] == [("test", FAILED)]
    assert (found.failed_jobs, found.unread) == ({"test": (11,)}, "")
    assert found.broken == {"test": "its runner was lost: The hosted runner encountered an error"}


def test_a_refused_page_of_checks_has_the_runs_asked() -> None:
    class Later(Values):
        def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
            self.forbidden = {"checks": "FORBIDDEN"} if text.startswith("query MoreChecks") else {}
            return super().graphql(text, **variables)

    client = Later(pull(12, rollup=[run(n, f"{n}", "SUCCESS") for n in range(1, 102)]), rest=REST)
    assert [c.name for c in reading(client).pull(12).checks] == ["test"]


def test_runs_that_stand_in_are_read_at_each_look_as_nothing_tells_that_they_changed() -> None:
    client = Values(pull(12), pull(13), rest=REST)
    client.forbidden = dict.fromkeys(("rollup", "counts", "checks"), "FORBIDDEN")
    reads = reading(client)
    reads.pulls([12, 13])
    client.asked.clear()
    client.rest[f"{AT}/actions/runs/1/jobs"] = {"jobs": [{**JOB, "id": 12, "conclusion": "success"}]}
    moved = {"target": {"__typename": "Commit", "oid": "c" * 40}, "refUpdateRule": None}
    client.now[12]["baseRef"] = moved
    found = reads.pulls([12, 13])
    assert [[(c.name, c.state) for c in found[n].checks] for n in (12, 13)] == [[("test", PASSED)]] * 2
    assert (found[12].base, found[13].base) == ("c" * 40, BASE)
    assert client.operations == ["Light"]


def rested(count: int) -> Values:
    client = Values(*(pull(n) for n in range(1, count + 1)), rest=REST)
    client.forbidden = dict.fromkeys(("rollup", "counts", "checks"), "FORBIDDEN")
    client.rest[f"{AT}/actions/runs/1/jobs"] = {"jobs": [{**JOB, "conclusion": "success"}]}
    return client


def by_rest(client: Values) -> int:
    return sum(path == f"{AT}/actions/runs" for path in client.paths)


def test_fifty_quiet_ones_are_not_asked_about_by_rest_at_each_look() -> None:
    client, clock = rested(50), Clock()
    reads = reading(client, clock)
    reads.pulls(range(1, 51))
    assert by_rest(client) == 50
    clock.now += 301
    for _ in range(3):
        client.asked.clear()
        client.paths.clear()
        reads.pulls(range(1, 51))
        assert (client.operations, client.paths) == (["Light"], [])
    clock.now += OLDEST - 301
    looks = []
    for _ in range(12):
        client.paths.clear()
        reads.pulls(range(1, 51))
        looks.append(by_rest(client))
        clock.now += 1
    assert looks == [5] * 10 + [0] * 2


def test_of_those_whose_checks_come_by_rest_the_pending_are_asked_about_in_turn() -> None:
    client, clock = rested(7), Clock()
    going = {f"{AT}/actions/runs/1/jobs": {"jobs": [{**JOB, "status": "queued", "conclusion": None}]}}
    done = {path: client.rest[path] for path in going}
    client.rest |= going
    reads = reading(client, clock)
    reads.pulls(range(1, 8))
    client.rest |= done
    clock.now += 301
    found = reads.pulls(range(1, 8))
    assert [n for n in found if found[n].checks[0].state is PENDING] == [6, 7]
    clock.now += 1
    client.paths.clear()
    found = reads.pulls(range(1, 8))
    assert [n for n in found if found[n].checks[0].state is PENDING] == []
    assert by_rest(client) == 2


def test_a_new_head_and_what_changed_otherwise_are_asked_about_by_rest_at_once() -> None:
    client, clock = rested(20), Clock()
    reads = reading(client, clock)
    reads.pulls(range(1, 21))
    clock.now += 301
    client.paths.clear()
    client.rest |= {path.replace(HEAD, "c" * 40): value for path, value in REST.items()}
    for n in range(11, 20):
        client.now[n]["headRefOid"] = "c" * 40
    client.now[20]["mergeStateStatus"] = "BLOCKED"
    reads.pulls(range(1, 21))
    commits = [p.split("/")[5] for p in client.paths if p.endswith("/check-runs")]
    assert commits == ["c" * 40] * 9 + [HEAD]
    client.paths.clear()
    reads.pull(1)
    assert by_rest(client) == 1


def test_a_token_that_may_read_no_checks_knows_none_and_says_so() -> None:
    client = Values(pull(12, baseRef=protected("test")))
    client.forbidden = dict.fromkeys(("rollup", "counts", "checks"), "FORBIDDEN")
    found = reading(client).pull(12)
    assert (found.checks, found.withheld) == ((), "")
    assert found.unread.startswith("the token may not read the workflow runs and check runs")


def test_a_right_that_comes_back_is_used() -> None:
    client = Values(pull(12, rollup=[run(1, "other", "SUCCESS")]), rest=REST)
    client.forbidden = dict.fromkeys(("rollup", "counts", "checks"), "FORBIDDEN")
    reads = reading(client)
    assert [c.name for c in reads.pull(12).checks] == ["test"]
    client.forbidden = {}
    assert [c.name for c in reads.pulls([12])[12].checks] == ["other"]
    client.now[12]["rollup"] = None
    client.forbidden = dict.fromkeys(("rollup", "counts", "checks"), "FORBIDDEN")
    assert [c.name for c in reads.pull(12).checks] == ["test"]
    client.forbidden = {}
    assert reads.pulls([12])[12].checks == ()


# --- what failed runs say of themselves ---------------------------------------------------------------------------


def test_failed_jobs_are_asked_once_whether_their_runner_was_lost() -> None:
    lost = [{"title": None, "message": "The runner has received a shutdown signal."}]
    checks = [run(1, "test", "FAILURE", annotations=lost), run(2, "lint", "FAILURE"), run(3, "docs", "SUCCESS")]
    client = Values(pull(12, rollup=checks), pull(13, rollup=[run(4, "test", "FAILURE")]))
    reads = reading(client)
    found = reads.pulls([12, 13])
    assert found[12].broken == {"test": "its runner was lost: The runner has received a shutdown signal"}
    assert found[13].broken == {}
    assert client.operations == ["Full", "FailedRuns"]
    assert reads.pull(12) == found[12]
    assert client.operations == ["Full", "FailedRuns", "Full"]


def test_failed_jobs_that_may_not_be_asked_have_a_verdict() -> None:
    class Shut(Values):
        def graphql(self, text: str, /, **variables: Any) -> tuple[Any, list[Any]]:
            self.forbidden = {"nodes": "FORBIDDEN"} if "FailedRuns" in text else {}
            return super().graphql(text, **variables)

    assert reading(Shut(pull(12, rollup=[run(1, "test", "FAILURE")]))).pull(12).broken == {}


# --- who is listened to -------------------------------------------------------------------------------------------


def test_permission_is_asked_once_an_hour_for_each_account() -> None:
    client, clock = (
        Values(pull(12, comments=[said(1, ADA, "Hm"), said(2, user("eve"), "Hm"), said(3, ADA, "Hm")])),
        Clock(),
    )
    reads = reading(client, clock)
    assert [t.id for t in reads.pull(12).threads] == ["comment-1", "comment-3"]
    clock.now += 3599
    reads.pull(12)
    asked = [p for p in client.paths if "collaborators" in p]
    assert asked == [f"{AT}/collaborators/ada/permission", f"{AT}/collaborators/eve/permission"]
    clock.now += 1
    client.rest[f"{AT}/collaborators/eve/permission"] = {"permission": "maintain"}
    client.rest[f"{AT}/collaborators/ada/permission"] = {"permission": "none"}
    assert [t.id for t in reads.pull(12).threads] == ["comment-2"]


@pytest.mark.parametrize(
    ("level", "association", "heard"),
    [
        ("admin", "NONE", True),
        ("maintain", "NONE", True),
        ("write", "NONE", True),
        ("triage", "MEMBER", False),
        ("read", "OWNER", False),
        ("none", "MEMBER", False),
        (403, "OWNER", True),
        (403, "MEMBER", True),
        (403, "COLLABORATOR", True),
        (403, "CONTRIBUTOR", False),
        (404, "FIRST_TIMER", False),
        (403, "NONE", False),
    ],
)
def test_those_who_may_write_are_listened_to(level: str | int, association: str, *, heard: bool) -> None:
    answer = level if isinstance(level, int) else {"permission": level}
    data = pull(
        12, comments=[said(1, user("joe"), "Hm", authorAssociation=association)], commits=[commit("1", "joe")]
    )
    found = read(data, **{f"{AT}/collaborators/joe/permission": answer})
    assert bool(found.threads) is heard
    assert found.commits[0].listened is heard


@pytest.mark.parametrize(
    ("who", "trusted", "heard"),
    [
        (bot("rabbit"), "rabbit", False),
        (bot("rabbit"), "Rabbit[bot]", True),
        (bot("rabbit"), "rab", False),
        (user("eve"), "EVE", True),
        (user("rabbit"), "rabbit[bot]", False),
        ({"__typename": "Mannequin", "login": "ada"}, "", False),
    ],
)
def test_whoever_is_named_is_listened_to(who: dict[str, Any], trusted: str, *, heard: bool) -> None:
    client = Values(pull(12, reviewThreads=[thread("T1", said(1, who, "Hm"))]))
    assert bool(reading(client, None, HOSTED, trusted).pull(12).threads) is heard


def test_whom_the_settings_name_is_read_anew() -> None:
    names: list[str] = []
    reads = Reading(
        Values(pull(12, comments=[said(1, user("eve"), "Hm")])), HOSTED, "main", lambda: names, "", Clock()
    )
    assert reads.pull(12).threads == ()
    names.append("eve")
    assert len(reads.pull(12).threads) == 1


def test_a_permission_that_github_does_not_tell_now_is_no_refusal() -> None:
    with pytest.raises(ForgeBusy):
        read(
            pull(12, comments=[said(1, ADA, "Hm")]), **{f"{AT}/collaborators/ada/permission": ForgeBusy("later", 1.0)}
        )


# --- finding ------------------------------------------------------------------------------------------------------


def listed(number: int, label: str) -> dict[str, Any]:
    return {"number": number, "head": {"ref": label.partition(":")[2], "label": label}}


def test_the_pull_requests_of_a_branch_are_found_in_any_state_the_newest_first() -> None:
    asked: list[dict[str, Any]] = []

    class Listing(Values):
        def pages(self, path: str, key: str = "", **params: Any) -> list[Any]:
            asked.append(params)
            return super().pages(path, key, **params)

    there = [listed(3, "acme:claudetm/r1/c1"), listed(9, "Acme:claudetm/r1/c1"), listed(7, "acme:claudetm/r1/c2")]
    there += [listed(8, "eve:claudetm/r1/c1")]
    client = Listing(rest={f"{AT}/pulls": there})
    assert reading(client).find("claudetm/r1/c1") == [9, 3]
    assert asked[0] == {"head": "acme:claudetm/r1/c1", "state": "all", "sort": "created", "direction": "desc"}
    fork = Hosted(HOSTED.api, "acme", "widgets", HOSTED.url, "", "eve")
    assert reading(client, None, fork).find("claudetm/r1/c1") == [8]


# --- the base by itself -------------------------------------------------------------------------------------------


def test_checks_of_a_commit_by_itself() -> None:
    client = Values()
    client.commits[BASE] = [run(1, "test", "FAILURE"), run(2, "lint", "SUCCESS"), status("ci/x", "ERROR")]
    assert reading(client).base_checks(BASE) == {"test": (FAILED, (1,)), "lint": (PASSED, ()), "ci/x": (FAILED, ())}


def test_a_commits_checks_are_read_to_the_last_page() -> None:
    client = Values()
    client.commits[BASE] = [run(n, f"{n}", "SUCCESS") for n in range(1, 120)]
    assert len(reading(client).base_checks(BASE) or ()) == 119


def test_a_commits_pending_check_leaves_it_open_unless_another_is_asked_for() -> None:
    client = Values()
    client.commits[BASE] = [run(1, "test", "FAILURE"), run(2, "slow", None, "QUEUED")]
    reads = reading(client)
    assert reads.base_checks(BASE) is None
    assert reads.base_checks(BASE, ["slow"]) is None
    assert reads.base_checks(BASE, ["test"]) == {"test": (FAILED, (1,))}


def test_a_commit_that_nothing_reports_at_has_no_checks() -> None:
    assert reading(Values()).base_checks(BASE) == {}


def test_a_commits_checks_come_from_the_runs_where_its_rollup_is_refused() -> None:
    at_base = {path.replace(HEAD, BASE): value for path, value in REST.items()}
    client = Values(rest=at_base)
    client.commits[BASE] = [run(1, "other", "SUCCESS")]
    client.forbidden = {"checks": "FORBIDDEN"}
    assert reading(client).base_checks(BASE) == {"test": (FAILED, (11,))}
