"""What was said about a pull request on GitHub, as threads: who is listened to, what is ours, what still waits."""

from __future__ import annotations

from typing import Any

import pytest

from claudetm.adapters.forge.github.reviews import MOST, Author, Mark, Talk, bare, mark, marked, talk, withheld
from claudetm.workflow.pull_request import Comment, Thread, fixed, unfixed
from github_values import bot, pull, review, said, thread, user

ADA, EVE, ROBIN = user("ada"), user("eve"), user("robin")
RABBIT = bot("coderabbitai")


def hears(who: Author) -> bool:
    return who.name in {"ada", "bob", "robin", "coderabbitai[bot]"}


def ours(number: int, body: str, at: str = "", **told: Any) -> dict[str, Any]:
    return said(number, ROBIN, f"{body}\n\n{mark(f'm{number}', **told)}", at)


def heard(**lists: Any) -> Talk:
    return talk(pages(pull(**lists)), "robin", hears)


def pages(data: dict[str, Any]) -> dict[str, Any]:
    listed = {key: {"nodes": data[key]} for key in ("reviews", "comments")}
    threads = [{**t, "comments": {"nodes": t["comments"]}} for t in data["reviewThreads"]]
    return {**data, **listed, "reviewThreads": {"nodes": threads}}


def on_line(*comments: dict[str, Any], **more: Any) -> Thread:
    (found,) = heard(reviewThreads=[thread("T1", *comments, **more)]).threads
    return found


# --- the marker ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"resolve": True},
        {"quiet": True},
        {"reopen": True},
        {"seen": 12},
        {"thread": "review-77"},
        {"resolve": True, "quiet": True, "reopen": True, "seen": 3, "thread": "PRRT_x--y"},
    ],
)
@pytest.mark.parametrize("marker", ["m1", "reply:PRRT_kwDO--x:2", "a b --> c", "ä\n"])
def test_a_marker_is_read_back_as_it_was_written(marker: str, told: dict[str, Any]) -> None:
    body = f"Done.\n\n{mark(marker, **told)}"
    assert marked(body) == Mark(marker, **told)
    assert marked(body.replace("\n", "\r\n") + "\r\n") == Mark(marker, **told)
    assert bare(body) == "Done."


def test_a_marker_is_a_line_of_its_own_and_the_last() -> None:
    assert mark("m1", resolve=True, quiet=True) == "<!-- claudetm m1 resolve quiet -->"
    assert marked(f"{mark('m1')}\nbut I say") is None
    assert marked(f"I quote {mark('m1')}") is None
    assert marked(f"> {mark('m1')}") is None
    assert marked("") is None
    assert bare("As it is.  ") == "As it is."


def test_words_of_a_newer_marker_are_no_harm() -> None:
    assert marked("x\n<!-- claudetm m1 resolve seen=many blink=2 -->") == Mark("m1", resolve=True)


# --- who is listened to -------------------------------------------------------------------------------------------


def test_a_remark_on_a_line_is_a_thread_that_waits() -> None:
    found = heard(reviewThreads=[thread("T1", said(5, ADA, "Why?\r\nReally?"))])
    assert found.threads == (Thread("T1", (Comment("ada", "Why?\nReally?"),), "a.py", 3),)
    assert found.replies == {"T1": 5}
    assert found.resolvable == {"T1"}


def test_an_outdated_thread_stands_where_it_was_and_may_not_be_ours_to_resolve() -> None:
    found = heard(reviewThreads=[thread("T1", said(5, ADA, "Why?"), line=None, viewerCanResolve=False)])
    assert (found.threads[0].where, found.threads[0].stands, found.resolvable) == ("a.py:2", True, frozenset())
    assert on_line(said(5, ADA, "Why?"), line=None, originalLine=None).where == "a.py"


def test_strangers_bots_and_ghosts_gate_nothing_and_are_named() -> None:
    found = heard(
        reviewThreads=[
            thread("T1", said(1, EVE, "Ship it to me")),
            thread("T2", said(2, None, "Boo")),
            thread("T3", said(3, bot("spam"), "Buy")),
            thread("T4", said(4, EVE, "Hm"), said(5, ADA, "Indeed")),
        ],
        reviews=[review(6, user("mal"), "CHANGES_REQUESTED")],
        comments=[said(7, bot("codecov"), "98 %")],
    )
    assert [(t.id, t.comments) for t in found.threads] == [("T4", (Comment("ada", "Indeed"),))]
    assert found.replies == {"T4": 4}
    assert found.unheard == ("eve", "ghost", "spam[bot]", "mal", "codecov[bot]")
    assert (found.objections, found.opposed) == ((), ("mal",))


def test_of_a_bot_that_is_named_only_threads_on_lines_count() -> None:
    found = heard(
        reviewThreads=[thread("T1", said(1, RABBIT, "A bug"))],
        reviews=[
            review(2, RABBIT, "COMMENTED", "Summary"),
            review(3, RABBIT, "CHANGES_REQUESTED", "Bad"),
        ],
        comments=[said(4, RABBIT, "You are out of quota")],
    )
    assert [(t.id, t.people) for t in found.threads] == [("T1", ("coderabbitai[bot]",))]
    assert (found.objections, found.approved, found.unheard) == ((), (), ())


def test_what_was_minimised_or_is_a_draft_was_not_said() -> None:
    hidden: dict[str, Any] = {"isMinimized": True}
    found = heard(
        reviewThreads=[
            thread("T1", said(1, ADA, "Off topic", **hidden)),
            thread("T2", said(2, ADA, "Draft", state="PENDING")),
            thread("T3", said(3, EVE, "Spam", **hidden)),
        ],
        reviews=[{**review(4, ADA, "COMMENTED", "Old"), **hidden}, review(5, ADA, "PENDING", "Draft")],
        comments=[said(6, ADA, "Old", **hidden)],
    )
    assert found == Talk()


def test_what_we_said_was_said_whoever_hides_it() -> None:
    hidden: dict[str, Any] = {"isMinimized": True}
    reply = ours(4, "Done.", resolve=True, seen=1, thread="comment-3")
    found = heard(
        reviewThreads=[thread("T1", said(1, ADA, "Why?"), {**ours(2, "So.", seen=1), **hidden})],
        comments=[said(3, ADA, "Rename it"), {**reply, **hidden}, {**ours(5, "A finding."), **hidden}],
    )
    assert [(t.id, t.unanswered, t.resolved) for t in found.threads] == [
        ("T1", False, False),
        ("comment-3", False, True),
        ("comment-5", True, False),
    ]
    assert found.markers == {"m2": "T1", "m4": "comment-3", "m5": "comment-5"}
    by_hand = heard(comments=[said(6, ROBIN, "By hand", **hidden)])
    assert by_hand == Talk()


def test_a_thread_that_a_person_spoke_in_since_is_known_to_be_shut_on_github() -> None:
    def shut(*comments: dict[str, Any]) -> frozenset[str]:
        data = thread("T1", said(1, ADA, "Why?"), ours(2, "Done.", resolve=True), *comments)
        return heard(reviewThreads=[{**data, "isResolved": True, "resolvedBy": ROBIN}]).shut

    assert shut() == frozenset()
    assert shut(said(3, ADA, "Not so")) == {"T1"}
    assert shut(said(3, ADA, "Not so"), ours(4, "It is.", seen=3)) == {"T1"}
    assert shut(said(3, ADA, "Not so"), ours(4, "Done.", resolve=True, seen=3)) == frozenset()


def test_the_tokens_account_without_a_marker_is_a_person() -> None:
    assert on_line(said(1, ROBIN, "I wrote this by hand")).comments == (Comment("robin", "I wrote this by hand"),)


def test_a_marker_of_another_account_is_not_ours() -> None:
    body = f"Fixed.\n\n{mark('m9', resolve=True)}"
    found = heard(reviewThreads=[thread("T1", said(1, ADA, "Why?"), said(2, ADA, body))])
    assert (found.threads[0].comments[1].ours, found.threads[0].unanswered, found.markers) == (False, True, {})


def test_an_app_whose_token_is_ours_is_known_by_its_bot() -> None:
    data = pages(pull(reviewThreads=[thread("T1", said(1, bot("tm"), f"Look\n{mark('m1')}"))]))
    found = talk(data, "tm[bot]", hears)
    assert (found.threads[0].comments, found.markers) == ((Comment("tm[bot]", "Look", ours=True),), {"m1": "T1"})
    assert talk(data, "TM[bot]", hears) == found


@pytest.mark.parametrize("login", ["tm", "tm[bot]", "Tm"])
def test_what_an_app_of_ours_closed_a_person_opens_again_by_speaking(login: str) -> None:
    closing = said(2, bot("tm"), f"Done.\n{mark('m1', resolve=True)}")
    comments = [said(1, ADA, "Why?"), closing, said(3, ADA, "Not so")]
    data = pages(pull(reviewThreads=[thread("T1", *comments, isResolved=True, resolvedBy={"login": login})]))
    assert not talk(data, "tm[bot]", hears).threads[0].resolved


def test_an_endless_remark_is_cut() -> None:
    body = on_line(said(1, ADA, "x" * (MOST + 1))).comments[0].body
    assert (len(body), body[-2:]) == (MOST, "x…")
    assert on_line(said(1, ADA, "x" * MOST)).comments[0].body == "x" * MOST


# --- threads on lines ---------------------------------------------------------------------------------------------


def test_our_reply_answers_and_its_marker_is_found() -> None:
    found = heard(
        reviewThreads=[thread("T1", said(1, ADA, "Why?"), ours(2, fixed("Done.", "abc1234"), resolve=True))]
    )
    (one,) = found.threads
    assert (one.unanswered, one.resolved, one.fixed_in) == (False, False, "abc1234")
    assert found.markers == {"m2": "T1"}


def test_a_reply_goes_to_the_first_remark_of_its_thread() -> None:
    found = heard(reviewThreads=[thread("T1", said(1, ADA, "Why?"), ours(2, "So."), said(3, ADA, "Why so?"))])
    assert found.replies == {"T1": 1}


def test_a_thread_is_resolved_where_github_says_so() -> None:
    assert on_line(said(1, ADA, "Why?"), isResolved=True, resolvedBy=ADA).resolved
    assert on_line(said(1, ADA, "Why?"), isResolved=True, resolvedBy=ROBIN).resolved
    opened_again = on_line(said(1, ADA, "Why?"), ours(2, "Done.", resolve=True))
    assert (opened_again.resolved, opened_again.stands) == (False, True)


def test_a_person_who_speaks_after_we_closed_it_opens_it_again() -> None:
    comments = [said(1, ADA, "Why?"), ours(2, "Done.", resolve=True), said(3, ADA, "Not so")]
    again = on_line(*comments, isResolved=True, resolvedBy=ROBIN)
    assert (again.resolved, again.unanswered) == (False, True)
    closed = on_line(*comments, isResolved=True, resolvedBy=ADA)
    assert closed.resolved
    answered = on_line(*comments, ours(4, "Now it is.", resolve=True), isResolved=True, resolvedBy=ROBIN)
    assert answered.resolved


def test_a_bot_that_thanks_us_opens_nothing_again() -> None:
    comments = [said(1, RABBIT, "A bug"), ours(2, "Done.", resolve=True), said(3, RABBIT, "Confirmed, thanks!")]
    assert on_line(*comments, isResolved=True, resolvedBy=ROBIN).resolved


def test_what_came_after_what_we_saw_still_waits() -> None:
    comments = [said(1, ADA, "Why?"), said(2, ADA, "And this?")]
    assert on_line(*comments, ours(3, "Because.", seen=1)).unanswered
    assert not on_line(*comments, ours(3, "Because.", seen=2)).unanswered


def test_remarks_are_put_in_the_order_of_their_time() -> None:
    later, first = said(1, ADA, "Later", "11:00"), said(2, ADA, "First", "10:00")
    assert [c.body for c in on_line(later, first).comments] == ["First", "Later"]
    found = heard(reviewThreads=[thread("T1", later)], comments=[said(9, ADA, "Hello", "10:30")])
    assert [t.id for t in found.threads] == ["comment-9", "T1"]


def test_a_finding_of_ours_asks_unless_it_is_quiet() -> None:
    asks, quiet = on_line(ours(1, "Wrong.")), on_line(ours(1, "A thought.", quiet=True))
    assert (asks.unanswered, asks.blocking) == (True, True)
    assert (quiet.unanswered, quiet.blocking) == (False, False)
    taken_up = on_line(ours(1, "A thought.", quiet=True), said(2, ADA, "Yes, do that"))
    assert (taken_up.unanswered, taken_up.blocking) == (True, True)


def test_a_finding_that_we_open_again_waits_for_an_answer() -> None:
    again = unfixed("Wrong.", "abc1234")
    found = on_line(ours(1, "Wrong."), ours(2, "Done.", resolve=True), ours(3, again, reopen=True))
    assert (found.unanswered, found.blocking, found.resolved) == (True, True, False)
    assert found.theirs == Comment("robin", again, ours=True)


def test_a_reply_to_somebody_who_is_not_listened_to_any_more_begins_nothing() -> None:
    found = heard(reviewThreads=[thread("T1", said(1, EVE, "Why?"), ours(2, "Because."))])
    assert (found.threads, found.markers) == ((), {"m2": "T1"})


# --- what GitHub keeps no threads for -------------------------------------------------------------------------------


def test_a_reviews_body_is_a_thread_that_its_address_is_known_of() -> None:
    found = heard(
        reviews=[
            review(1, ADA, "COMMENTED", "Rename it"),
            review(2, ADA, "CHANGES_REQUESTED", "Test it"),
            review(3, ADA, "COMMENTED", "  "),
            review(4, ADA, "DISMISSED", "Old"),
        ]
    )
    assert found.threads == (
        Thread("review-1", (Comment("ada", "Rename it"),)),
        Thread("review-2", (Comment("ada", "Test it"),)),
    )
    assert found.quoted["review-2"] == "https://github.com/acme/widgets/pull/12#c2"
    assert (found.replies, found.resolvable) == ({}, frozenset())


def test_an_approval_asks_for_nothing() -> None:
    assert heard(reviews=[review(1, ADA, "APPROVED", "Nice")]).threads == ()


def test_a_comment_is_answered_and_closed_by_one_of_ours_that_names_it() -> None:
    body = "> Rename it\n\n[ada](https://github.com/x#c1):\n\nDone.\n\nFixed in abc1234."
    found = heard(
        comments=[
            said(1, ADA, "Rename it"),
            said(2, ADA, "Other"),
            ours(3, body, resolve=True, seen=1, thread="comment-1"),
        ]
    )
    first, other = found.threads
    assert first.comments[1] == Comment("robin", "Done.\n\nFixed in abc1234.", ours=True)
    assert (first.resolved, first.unanswered, first.fixed_in) == (True, False, "abc1234")
    assert (other.resolved, other.unanswered) == (False, True)
    assert found.markers == {"m3": "comment-1"}
    assert found.quoted == {t.id: f"https://github.com/acme/widgets/pull/12#c{t.id[-1]}" for t in found.threads}


def test_the_reviewer_roles_word_stays_whole_behind_its_quotation() -> None:
    again = unfixed("Wrong.", "abc1234")
    found = heard(
        comments=[ours(1, "Wrong."), ours(2, f"> Wrong.\n\nrobin:\n\n{again}", reopen=True, thread="comment-1")]
    )
    assert found.threads[0].comments[1].body == again
    assert found.threads[0].unanswered


def declined(*more: dict[str, Any], reviews: Any = ()) -> Thread:
    comments = [said(1, ADA, "Rename it", "10:01"), ours(2, "No.", "10:05", seen=1, thread="comment-1"), *more]
    return heard(comments=comments, reviews=list(reviews)).threads[0]


def test_a_remark_that_we_declined_stands_until_its_author_speaks_again() -> None:
    assert declined().stands
    assert declined(said(3, user("bob"), "I agree", "10:06")).stands
    assert declined(said(3, ADA, "Well then", "10:04")).stands
    assert declined(said(3, EVE, "No", "10:06")).stands
    assert declined(said(3, ADA, "Well then", "10:06", isMinimized=True)).stands
    assert not declined(said(3, ADA, "Well then", "10:06")).stands
    assert not declined(reviews=[review(3, ADA, "COMMENTED", at="10:06")]).stands
    assert not declined(reviews=[review(3, ADA, "APPROVED", at="10:06")]).stands


def test_within_a_second_only_what_is_counted_together_tells_what_was_said_later() -> None:
    assert not declined(said(3, ADA, "Well then", "10:05")).stands
    assert declined(reviews=[review(3, ADA, "COMMENTED", at="10:05")]).stands
    asked = review(5, ADA, "CHANGES_REQUESTED", "Too loud", "10:05")
    assert not heard(reviews=[asked, review(6, ADA, "APPROVED", at="10:05")]).threads[0].stands
    assert heard(reviews=[asked, review(4, ADA, "APPROVED", at="10:05")]).threads[0].stands


def test_an_unanswered_remark_waits_though_its_author_spoke_again() -> None:
    first, second = heard(comments=[said(1, ADA, "Rename it"), said(2, ADA, "And test it")]).threads
    assert (first.unanswered, first.stands, second.stands) == (True, True, True)


def test_an_approval_after_a_remark_takes_it_out_of_the_way_and_one_before_does_not() -> None:
    remark = said(1, ADA, "Rename it", "10:01")
    after = heard(comments=[remark], reviews=[review(2, ADA, "APPROVED", at="10:02")]).threads[0]
    assert (after.unanswered, after.stands) == (True, False)
    before = heard(comments=[remark], reviews=[review(2, ADA, "APPROVED", at="10:00")]).threads[0]
    assert before.stands
    other = heard(comments=[remark], reviews=[review(2, user("bob"), "APPROVED", at="10:02")]).threads[0]
    assert other.stands


def test_a_person_who_uses_our_account_does_not_close_the_reviewer_roles_finding_by_talking() -> None:
    answer = ours(2, "No.", "10:05", seen=1, thread="comment-1")
    found = heard(comments=[ours(1, "Wrong.", "10:01"), answer, said(3, ROBIN, "Hm", "10:06")])
    assert found.threads[0].stands


def test_our_own_remarks_at_large_are_no_persons_word() -> None:
    mine = said(1, ROBIN, "Rename it", "10:01")
    found = heard(comments=[mine, ours(2, "No.", "10:05", thread="comment-1"), ours(3, "Else", "10:06")])
    assert found.threads[0].stands


# --- verdicts -----------------------------------------------------------------------------------------------------


def test_the_last_verdict_of_each_person_counts_and_a_comment_lifts_none() -> None:
    found = heard(
        reviews=[
            review(1, ADA, "CHANGES_REQUESTED"),
            review(2, ADA, "COMMENTED"),
            review(3, user("bob"), "CHANGES_REQUESTED"),
            review(4, user("bob"), "APPROVED"),
            review(5, ROBIN, "APPROVED"),
            review(6, ROBIN, "DISMISSED"),
        ]
    )
    assert (found.objections, found.approved) == (("ada",), ("bob",))


def test_an_objection_that_was_dismissed_or_came_before_an_approval_is_over() -> None:
    assert heard(reviews=[review(1, ADA, "DISMISSED", "Old")]).objections == ()
    later_first = [review(2, ADA, "APPROVED", at="11:00"), review(1, ADA, "CHANGES_REQUESTED", at="10:00")]
    assert heard(reviews=later_first).approved == ("ada",)


def test_approvals_of_strangers_and_bots_count_for_nothing() -> None:
    found = heard(reviews=[review(1, EVE, "APPROVED"), review(2, RABBIT, "APPROVED")])
    assert (found.approved, found.unheard) == ((), ("eve",))
    assert heard(reviews=[review(1, EVE, "DISMISSED")]).unheard == ()


def test_our_own_marked_review_is_no_verdict() -> None:
    assert heard(reviews=[review(1, ROBIN, "CHANGES_REQUESTED", f"Hm\n{mark('m1')}")]).objections == ()


@pytest.mark.parametrize(
    ("fields", "objections", "opposed", "clause"),
    [
        ({}, (), (), ""),
        ({"reviewDecision": "APPROVED"}, (), (), ""),
        ({"reviewDecision": "REVIEW_REQUIRED"}, (), (), "a review is required by the rules of main"),
        ({"reviewDecision": "CHANGES_REQUESTED"}, ("ada",), ("eve",), ""),
        ({"reviewDecision": "CHANGES_REQUESTED"}, (), ("eve",), "eve asked for changes, and GitHub counts that"),
        ({"reviewDecision": "CHANGES_REQUESTED"}, (), (), "somebody asked for changes, and GitHub counts that"),
        ({"isDraft": True, "reviewDecision": "REVIEW_REQUIRED"}, (), (), "it is a draft"),
    ],
)
def test_what_github_says_people_owe(
    fields: dict[str, Any], objections: tuple[str, ...], opposed: tuple[str, ...], clause: str
) -> None:
    assert withheld(pull(**fields), Talk(objections=objections, opposed=opposed)) == clause
