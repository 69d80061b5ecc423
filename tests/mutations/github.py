"""What could be wrong in the GitHub forge, one line each: wrong fields, swallowed errors, missing pages, lost rules.

Each is caught by the tests that are named for it, which need neither a network nor another process than git's.
"""

from __future__ import annotations

from typing import Final

from mutations.run import of

_FORGE: Final = "adapters/forge"
_CHECKS: Final = "unit/test_github_checks.py::"
_READING: Final = "unit/test_github_reading.py::"
_REVIEWS: Final = "unit/test_github_reviews.py::"
_LOOK: Final = "unit/test_github_look.py::"
_START: Final = "unit/test_github_start.py::"
_PLACE: Final = "unit/test_github_place.py::"
_CLIENT: Final = "integration/test_github_client.py::"
_LIFE: Final = "integration/test_github_forge.py::"
_MOMENTS: Final = "integration/test_github_moments.py::"
_OPENED: Final = "unit/test_github_opening.py::"
_GIT: Final = "integration/test_git_remote.py::"
_EVERY_FORGE: Final = "contract/test_forge.py::TestForge::"


_FIELDS: Final = of(
    f"{_FORGE}/github/fields.py",
    (
        "the head is read from the base",
        'head=data["headRefOid"],',
        "head=_tip(data),",
        f"{_READING}test_every_field_of_an_open_one_is_told",
    ),
    (
        "the base branch is read from the head's",
        'target=data["baseRefName"],',
        'target=data["headRefName"],',
        f"{_READING}test_every_field_of_an_open_one_is_told",
    ),
    (
        "the number stands for the node id",
        'id=data["id"],',
        'id=str(data["number"]),',
        f"{_READING}test_every_field_of_an_open_one_is_told",
    ),
    (
        "the merge commit is the head",
        '(data["mergeCommit"] or {}).get("oid", "")',
        'data["headRefOid"]',
        f"{_READING}test_who_merged_it_and_as_which_commit",
    ),
    (
        "mergeable is taken from the state",
        '  mergeable=Mergeable(data["mergeable"]),',
        '  mergeable=Mergeable.MERGEABLE if data["state"] == "OPEN" else Mergeable.UNKNOWN,',
        f"{_READING}test_whether_it_can_be_merged_is_what_github_says_of_that_alone",
    ),
    (
        "a queue that is there is taken for being in it",
        'queued=data["isInMergeQueue"],',
        'queued=data["isMergeQueueEnabled"],',
        f"{_READING}test_every_field_of_an_open_one_is_told",
    ),
    (
        "a deleted branch is there as long as its repository is",
        'branch_there=data["headRef"] is not None,',
        'branch_there=data["headRepository"] is not None,',
        f"{_READING}test_a_branch_that_is_gone_is_told_from_a_fork_that_is",
    ),
    (
        "a fork's branch is writable without its owner's leave",
        'writable=not data["isCrossRepository"] or data["maintainerCanModify"],',
        "writable=True,",
        f"{_READING}test_a_branch_of_a_fork_is_writable_where_its_owner_allows_that",
    ),
    (
        "who merged it is nobody",
        'return _somebody(data["mergedBy"])',
        "return SOMEBODY",
        f"{_READING}test_who_merged_it_and_as_which_commit",
    ),
    (
        "who closed it is who closed it first",
        'events[-1]["actor"] if events',
        'data["mergedBy"] if events',
        f"{_READING}test_who_closed_it_unmerged",
    ),
    (
        "a moved head changes no fingerprint",
        '        data["headRefOid"],\n        data["baseRefName"],',
        '        data["baseRefName"],',
        f"{_READING}test_one_is_read_in_full_where_something_happened_to_it",
    ),
    (
        "a new remark changes no fingerprint",
        'data["remarked"]["totalCount"],',
        "0,",
        f"{_READING}test_one_is_read_in_full_where_something_happened_to_it",
    ),
    (
        "a base that moved keeps its tip",
        "replace(pull, base=_tip(data), ",
        "replace(pull, ",
        f"{_READING}test_a_push_to_the_base_costs_nothing_more_and_is_told",
    ),
    (
        "every account's commits are taken",
        "listened = ours or (bool(login) and ",
        "listened = ours or bool(login) or (",
        f"{_READING}test_whose_commits_are_taken",
    ),
)

_SAID: Final = of(
    f"{_FORGE}/github/reviews.py",
    (
        "whose marker it is is not compared",
        "if same(author(said).name, self.me) else None",
        "",
        f"{_REVIEWS}test_a_marker_of_another_account_is_not_ours",
    ),
    (
        "whoever has the token's account is us, marker or not",
        'return marked(said["body"] or "") if',
        'return marked(said["body"] or "") or Mark("") if',
        f"{_REVIEWS}test_the_tokens_account_without_a_marker_is_a_person",
    ),
    (
        "a bot counts as a person",
        'return self.kind == "User"',
        'return self.kind in {"User", "Bot"}',
        f"{_REVIEWS}test_of_a_bot_that_is_named_only_threads_on_lines_count",
    ),
    (
        "who is not listened to is heard",
        "if found is None and not self.hears(who):",
        "if False:",
        f"{_REVIEWS}test_strangers_bots_and_ghosts_gate_nothing_and_are_named",
    ),
    (
        "what was minimised is heard",
        'if said["isMinimized"] and found is None:',
        "if False:",
        f"{_REVIEWS}test_what_was_minimised_or_is_a_draft_was_not_said",
    ),
    (
        "what we said and somebody hides was not said",
        'if said["isMinimized"] and found is None:',
        'if said["isMinimized"]:',
        f"{_REVIEWS}test_what_we_said_was_said_whoever_hides_it",
    ),
    (
        "what is a draft yet is heard",
        'if c["state"] != "PENDING"]',
        "]",
        f"{_REVIEWS}test_what_was_minimised_or_is_a_draft_was_not_said",
    ),
    (
        "changes requested count for nothing",
        'frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})',
        'frozenset({"APPROVED", "DISMISSED"})',
        f"{_REVIEWS}test_the_last_verdict_of_each_person_counts_and_a_comment_lifts_none",
    ),
    (
        "a comment lifts an objection",
        'frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})',
        'frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED", "COMMENTED"})',
        f"{_REVIEWS}test_the_last_verdict_of_each_person_counts_and_a_comment_lifts_none",
    ),
    (
        "a dismissed objection stands",
        'frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})',
        'frozenset({"APPROVED", "CHANGES_REQUESTED"})',
        f"{_REVIEWS}test_the_last_verdict_of_each_person_counts_and_a_comment_lifts_none",
    ),
    (
        "the first verdict counts, not the last",
        'sorted(reviews, key=lambda r: (r["submittedAt"] or "", number(r))):',
        'sorted(reviews, key=lambda r: (r["submittedAt"] or "", number(r)), reverse=True):',
        f"{_REVIEWS}test_the_last_verdict_of_each_person_counts_and_a_comment_lifts_none",
    ),
    (
        "approvals of outsiders count",
        "if who.person and listening.hears(who)}",
        "if who.person}",
        f"{_REVIEWS}test_approvals_of_strangers_and_bots_count_for_nothing",
    ),
    (
        "approvals of bots count",
        "if who.person and listening.hears(who)}",
        "if listening.hears(who)}",
        f"{_REVIEWS}test_approvals_of_strangers_and_bots_count_for_nothing",
    ),
    (
        "a thread that a person opened again stays resolved",
        'replace(thread, resolved=data["isResolved"] and not self._spoken_since(data, remarks))',
        'replace(thread, resolved=data["isResolved"])',
        f"{_REVIEWS}test_a_person_who_speaks_after_we_closed_it_opens_it_again",
    ),
    (
        "a bot that thanks opens a thread again",
        "return any(not r.mark and r.who.person for r in",
        "return any(not r.mark for r in",
        f"{_REVIEWS}test_a_bot_that_thanks_us_opens_nothing_again",
    ),
    (
        "a reply is sent to the last remark of a thread",
        "number(all_of_it[0])",
        "number(all_of_it[-1])",
        f"{_REVIEWS}test_a_reply_goes_to_the_first_remark_of_its_thread",
    ),
    (
        "a review that the rules want is not waited for",
        'case "REVIEW_REQUIRED":',
        'case "REVIEW_WANTED":',
        f"{_REVIEWS}test_what_github_says_people_owe",
    ),
    (
        "an objection that GitHub counts is let go",
        'case "CHANGES_REQUESTED" if not heard.objections:',
        'case "CHANGES_REQUESTED" if heard.opposed:',
        f"{_REVIEWS}test_what_github_says_people_owe",
    ),
    ("a draft is ready", 'if data["isDraft"]:', "if False:", f"{_REVIEWS}test_what_github_says_people_owe"),
    (
        "anybody's words close what somebody asked",
        "if same(w.name, first.who.name) and w.after(",
        "if w.after(",
        f"{_REVIEWS}test_a_remark_that_we_declined_stands_until_its_author_speaks_again",
    ),
)

_VERDICTS: Final = of(
    f"{_FORGE}/github/checks.py",
    (
        "skipped never passes",
        'frozenset({"success", "neutral", "skipped"})',
        'frozenset({"success", "neutral"})',
        f"{_CHECKS}test_only_success_neutral_and_skipped_pass",
    ),
    (
        "what is not red is green",
        "if self.verdict in _FAILED else CheckState.PENDING",
        "if self.verdict in _FAILED else CheckState.PASSED",
        f"{_CHECKS}test_a_run_that_is_not_completed_is_pending",
    ),
    (
        "cancelled is waited for",
        '"timed_out", "cancelled", "startup_failure"',
        '"timed_out", "startup_failure"',
        f"{_CHECKS}test_only_success_neutral_and_skipped_pass",
    ),
    (
        "a required check that never reported is not missed",
        "for n in sorted({*required} - {*named})]",
        "for n in ()]",
        (
            f"{_CHECKS}test_a_required_check_that_has_not_reported_is_pending "
            f"{_READING}test_required_checks_that_are_silent_are_pending_by_protection_and_by_rulesets"
        ),
    ),
    (
        "what the rules name is not required",
        "n.required or n.name in required",
        "n.required",
        f"{_CHECKS}test_a_check_is_required_by_its_own_word_or_by_the_rules_plain_name",
    ),
    (
        "a check is called by what set it off",
        "named.setdefault(one.name, [])",
        'named.setdefault(f"{one.name} ({one.event})", [])',
        f"{_CHECKS}test_a_check_is_called_by_its_own_name_whatever_else_reports",
    ),
    (
        "a check that runs twice ends with the first",
        "(CheckState.PENDING, CheckState.FAILED, CheckState.PASSED) if s in states",
        "(CheckState.FAILED, CheckState.PASSED, CheckState.PENDING) if s in states",
        f"{_CHECKS}test_what_runs_on_pushes_and_on_pull_requests_is_one_check_that_ends_with_both",
    ),
    (
        "the oldest attempt counts",
        "newest[key].id < one.id",
        "newest[key].id > one.id",
        f"{_CHECKS}test_the_newest_of_several_runs_counts_wherever_it_stands",
    ),
    (
        "a job's id is its run's",
        'data["databaseId"] or 0,\n        data["id"]',
        'run.get("databaseId") or 0,\n        data["id"]',
        f"{_CHECKS}test_jobs_runs_and_addresses_are_known_by_the_checks_name",
    ),
    (
        "a workflow between two of its jobs is over",
        "if r.goes_on and r.run not in busy",
        "if False",
        f"{_CHECKS}test_a_workflow_that_goes_on_is_not_green_though_every_job_of_it_that_is_told_passed",
    ),
    (
        "a lost runner is the code's fault",
        'f"its runner was lost: {lost}" for lost in _LOST if lost in text',
        'f"its runner was lost: {lost}" for lost in _LOST if lost == text',
        f"{_CHECKS}test_a_runner_that_was_lost_is_no_verdict",
    ),
    (
        "a 403 on checks is not told of",
        "refused.append(what)",
        "pass",
        f"{_CHECKS}test_a_token_that_may_read_nothing_knows_no_checks_and_says_so",
    ),
    (
        "a revoked token lacks a right",
        "        except Unauthorised:\n            raise\n        except GithubRefused:\n            refused.append",
        "        except GithubRefused:\n            refused.append",
        f"{_CHECKS}test_a_token_that_was_revoked_is_not_one_that_lacks_a_right",
    ),
    (
        "no answer about checks is a refusal",
        "        except GithubRefused:\n            refused.append",
        "        except Exception:\n            refused.append",
        f"{_CHECKS}test_no_answer_is_not_a_refusal",
    ),
    (
        "required checks that cannot be read hold it up for ever",
        "return () if unread and status in _SATISFIED else required",
        "return required",
        f"{_CHECKS}test_required_checks_that_cannot_be_read_are_waited_for_only_where_github_is_not_satisfied",
    ),
    (
        "required checks are not waited for where one part may not be read",
        "return () if unread and status in _SATISFIED else required",
        "return () if unread else required",
        f"{_CHECKS}test_required_checks_that_cannot_be_read_are_waited_for_only_where_github_is_not_satisfied",
    ),
    (
        "only the first page of workflow runs is read",
        'client.pages(f"{at}/actions/runs", "workflow_runs", head_sha=commit)',
        'client.get(f"{at}/actions/runs", head_sha=commit)["workflow_runs"]',
        f"{_CHECKS}test_runs_jobs_checks_statuses_and_rules_are_read_to_the_last_page",
    ),
    (
        "only the first page of jobs is read",
        'client.pages(f"{at}/actions/runs/{run[\'id\']}/jobs", "jobs", filter="latest")',
        'client.get(f"{at}/actions/runs/{run[\'id\']}/jobs", filter="latest")["jobs"]',
        f"{_CHECKS}test_runs_jobs_checks_statuses_and_rules_are_read_to_the_last_page",
    ),
    (
        "only the first page of check runs is read",
        'client.pages(f"{at}/commits/{commit}/check-runs", "check_runs", filter="latest")',
        'client.get(f"{at}/commits/{commit}/check-runs", filter="latest")["check_runs"]',
        f"{_CHECKS}test_runs_jobs_checks_statuses_and_rules_are_read_to_the_last_page",
    ),
    (
        "only the first page of statuses is read",
        'client.pages(f"{at}/commits/{commit}/status", "statuses")',
        'client.get(f"{at}/commits/{commit}/status")["statuses"]',
        f"{_CHECKS}test_runs_jobs_checks_statuses_and_rules_are_read_to_the_last_page",
    ),
    (
        "only the first page of rules is read",
        "rules = client.pages(",
        "rules = client.get(",
        f"{_CHECKS}test_runs_jobs_checks_statuses_and_rules_are_read_to_the_last_page",
    ),
    (
        "runs of other commits count",
        '"workflow_runs", head_sha=commit)',
        '"workflow_runs")',
        f"{_CHECKS}test_only_the_commits_own_runs_and_newest_attempts_are_asked_for",
    ),
)

_LOOKS: Final = of(
    f"{_FORGE}/github/reading.py",
    (
        "only the first page of checks is read",
        'while checks and checks["contexts"]["pageInfo"]["hasNextPage"]:',
        "while False:",
        f"{_READING}test_every_list_is_read_to_its_last_page",
    ),
    (
        "only the first page of threads, reviews and the conversation is read",
        "for part in query.PARTS:",
        "for part in ():",
        f"{_READING}test_every_list_is_read_to_its_last_page",
    ),
    (
        "only the first page of a thread's comments is read",
        'for thread in data["reviewThreads"]["nodes"]:',
        "for thread in ():",
        f"{_READING}test_every_list_is_read_to_its_last_page",
    ),
    (
        "only the first page of a commit's checks is read",
        'if not rollup["contexts"]["pageInfo"]["hasNextPage"]:',
        "if True:",
        f"{_READING}test_a_commits_checks_are_read_to_the_last_page",
    ),
    (
        "a refused rollup is one without checks",
        "refused.add(number)",
        "pass",
        f"{_READING}test_where_the_rollup_is_refused_the_runs_are_asked",
    ),
    (
        "a refused page of checks is the end of them",
        'if refused or not more["checks"]:\n                return False',
        'if refused or not more["checks"]:\n                return True',
        f"{_READING}test_a_refused_page_of_checks_has_the_runs_asked",
    ),
    (
        "checks by REST are those of the base",
        'self._by_rest(data["number"], data["headRefOid"], anew=anew)',
        'self._by_rest(data["number"], data["baseRef"]["target"]["oid"], anew=anew)',
        f"{_READING}test_where_the_rollup_is_refused_the_runs_are_asked",
    ),
    (
        "a hole in a later page of a thread is the end of it",
        'if not data.get("node") or any(',
        'if not data.get("node") or False and any(',
        f"{_READING}test_a_remark_that_does_not_come_is_not_left_out_and_its_author_may_be",
    ),
    (
        "a number that is none is asked for for ever",
        'if kind == "NOT_FOUND":',
        "if False:",
        f"{_READING}test_a_number_that_is_none_is_said",
    ),
    (
        "a list that is kept back for good is asked for for ever",
        "if kind in _SHUT:",
        "if False:",
        f"{_READING}test_a_list_that_github_kept_back_is_not_taken_for_empty",
    ),
    (
        "what was read before is believed whatever changed",
        "moved = fingerprint(now) != held.mark or",
        "moved = False and",
        f"{_READING}test_one_is_read_in_full_where_something_happened_to_it",
    ),
    (
        "a judgement that changed alone is not looked into",
        "held.decided != status)",
        "held.decided == '')",
        f"{_READING}test_a_judgement_that_changed_over_a_push_to_the_base_is_looked_into",
    ),
    (
        "a question that was too much is asked again as it was",
        "size = len(some) // 2",
        "size = len(some)\n                    raise",
        f"{_READING}test_where_github_comes_to_no_answer_it_is_asked_less_at_once_and_for_an_hour",
    ),
    (
        "where github is down questions stay small",
        "            if size < self.most:",
        "            if False:",
        f"{_READING}test_where_github_comes_to_no_answer_it_is_asked_less_at_once_and_for_an_hour",
    ),
    (
        "one that github never manages holds up the others",
        "elif answered or (not alone and len(left) > 1):",
        "elif False:",
        f"{_READING}test_one_that_github_never_manages_does_not_hold_up_the_others",
    ),
    (
        "one that github never manages holds up those that were read before",
        "if {*known} <= {*due}:",
        "if True:",
        f"{_READING}test_one_that_github_never_manages_does_not_hold_up_those_that_were_read_before",
    ),
    (
        "what goes wrong at no place over one alone holds up the others",
        "if (number is None and len(numbers) > 1) or",
        "if number is None or",
        f"{_READING}test_what_goes_wrong_over_one_alone_is_of_that_one_wherever_it_is_said_to_be",
    ),
    (
        "one that is told in part holds up the others",
        "if (number is None and len(numbers) > 1) or not isinstance(why, ForgeBusy):",
        "if True:",
        f"{_READING}test_one_that_is_told_in_part_does_not_hold_up_the_others",
    ),
    (
        "one that is told in part now is as it was",
        "for n in wanted if n not in self._lacking}",
        "for n in wanted if n in self._held}",
        f"{_READING}test_what_was_read_before_is_not_told_of_one_that_is_told_in_part_now",
    ),
    (
        "rest is asked about all at each look",
        "known[n].at)[:_BY_REST]",
        "known[n].at)",
        f"{_READING}test_fifty_quiet_ones_are_not_asked_about_by_rest_at_each_look",
    ),
    (
        "rest is asked about what is pending no more",
        "return number in changed or pending or",
        "return number in changed or",
        f"{_READING}test_of_those_whose_checks_come_by_rest_the_pending_are_asked_about_in_turn",
    ),
    (
        "what rest told of another head counts",
        "if known is None or known.head != head or anew:",
        "if known is None or anew:",
        f"{_READING}test_a_new_head_and_what_changed_otherwise_are_asked_about_by_rest_at_once",
    ),
    (
        "one that is asked for alone is as it was",
        "if not fresh:",
        "if True:",
        f"{_READING}test_one_that_is_asked_for_alone_is_read_in_full_unless_it_need_not_be",
    ),
    (
        "what was read long ago is never read again",
        "self._held[n].at >= OLDEST and",
        "self._held[n].at >= 1e9 and",
        f"{_READING}test_what_was_read_too_long_ago_is_read_again_with_no_third_request",
    ),
    (
        "a pending check of the base is a verdict",
        "if CheckState.PENDING in states.values():",
        "if False:",
        f"{_READING}test_a_commits_pending_check_leaves_it_open_unless_another_is_asked_for",
    ),
    (
        "a commit's checks that may not be read are none",
        "return by_rest(self._client, self._hosted.repository, commit)[0]",
        "return []",
        f"{_READING}test_a_commits_checks_come_from_the_runs_where_its_rollup_is_refused",
    ),
    (
        "everybody's branch of that name is ours",
        'if same(p["head"]["label"] or "", label)]',
        "]",
        f"{_READING}test_the_pull_requests_of_a_branch_are_found_in_any_state_the_newest_first",
    ),
)

_WHO: Final = of(
    f"{_FORGE}/github/people.py",
    (
        "who may only read is listened to",
        'frozenset({"write", "maintain", "admin"})',
        'frozenset({"read", "triage", "write", "maintain", "admin"})',
        f"{_READING}test_those_who_may_write_are_listened_to",
    ),
    (
        "a member who may not write is listened to",
        "return level in _MAY_WRITE if level else name in",
        "return level in _MAY_WRITE or name in",
        f"{_READING}test_those_who_may_write_are_listened_to",
    ),
    (
        "a permission that is refused is one to write",
        'level = ""\n        self',
        'level = "write"\n        self',
        f"{_READING}test_those_who_may_write_are_listened_to",
    ),
    (
        "no answer about a permission is a refusal",
        "except GithubRefused:",
        "except Exception:",
        f"{_READING}test_a_permission_that_github_does_not_tell_now_is_no_refusal",
    ),
    (
        "a bot is heard where a person of its short name is named",
        "if name in names:",
        'if name in names or name.removesuffix("[bot]") in names:',
        f"{_READING}test_whoever_is_named_is_listened_to",
    ),
)

_TRANSPORT: Final = of(
    f"{_FORGE}/github/client.py",
    (
        "only the first page is read",
        "            url = following\n",
        '            url = ""\n',
        f"{_CLIENT}test_a_list_is_read_to_its_last_page",
    ),
    (
        "what is no list is an empty one",
        "data.get(key) if key and",
        "data.get(key, []) if key and",
        f"{_CLIENT}test_what_is_no_list_is_not_taken_for_an_empty_one",
    ),
    (
        "a next page of another host is read",
        "(following in read or not self._ours(following))",
        "(following in read)",
        f"{_CLIENT}test_a_next_page_of_another_host_is_refused",
    ),
    (
        "a write whose answer was lost is sent again",
        "                return send()\n",
        "                return self._reading(resource, lambda _: send())\n",
        f"{_CLIENT}test_a_write_without_an_answer_is_never_sent_again",
    ),
    (
        "a 5xx is an answer",
        "if answer.status >= 500 or",
        "if answer.status >= 600 or",
        f"{_CLIENT}test_a_read_without_an_answer_is_repeated",
    ),
    (
        "a limit is a missing permission",
        "if is_limit(answer.status, answer.headers, message):",
        "if False:",
        f"{_CLIENT}test_retry_after_is_obeyed_and_nothing_is_asked_meanwhile",
    ),
    (
        "a limit of GraphQL's is one error among others",
        "if is_graphql_limit(error):",
        "if False:",
        f"{_CLIENT}test_graphqls_quota_used_up_comes_as_200",
    ),
    (
        "errors beside data are dropped",
        "return data, list(errors)",
        "return data, []",
        f"{_CLIENT}test_partial_data_is_kept",
    ),
    (
        "nothing but errors is an empty answer",
        "if data is None:\n            raise graphql_refusal(_named(query)",
        "if False:\n            raise graphql_refusal(_named(query)",
        f"{_CLIENT}test_nothing_but_errors_is_a_refusal",
    ),
    (
        "a mutation with errors has happened",
        "            if errors:\n",
        "            if data is None:\n",
        f"{_CLIENT}test_a_mutation_is_refused_by_any_error",
    ),
    (
        "an answer is remembered for every query of its path",
        'tag, before = self._known.get(url, ("", None))',
        'tag, before = next((v for k, v in self._known.items() if k.split("?")[0] == url.split("?")[0]), ("", None))',
        f"{_CLIENT}test_an_answer_is_remembered_for_its_whole_address_alone",
    ),
    (
        "the token follows every redirect",
        "return same[0] == same[1] and there.path.startswith(",
        "return True or there.path.startswith(",
        f"{_CLIENT}test_the_token_follows_no_redirect_to_another_host",
    ),
    (
        "the token is sent to where a log lies",
        "most, _AGENT, seconds=seconds",
        'most, f"{_AGENT} {self._token}", seconds=seconds',
        f"{_CLIENT}test_a_log_is_fetched_without_the_token",
    ),
    (
        "reads use what is kept for writes",
        "reserve=_for_write.get())",
        "reserve=True)",
        f"{_CLIENT}test_the_rest_of_the_quota_is_kept_for_writes",
    ),
    (
        "writes come all at once",
        "if 0 < wait <= self._spacing:",
        "if False:",
        f"{_CLIENT}test_writes_keep_their_distance",
    ),
    (
        "the token goes unencrypted",
        "is_loopback(address.hostname or",
        "bool(address.hostname or",
        f"{_CLIENT}test_an_address_without_encryption_gets_no_token",
    ),
)

_LIMITS: Final = of(
    f"{_FORGE}/github/limits.py",
    (
        "the reserve is used up",
        "if seen.remaining < seen.reserve:",
        "if seen.remaining < 0:",
        f"{_CLIENT}test_the_rest_of_the_quota_is_kept_for_writes",
    ),
    (
        "retry-after is not read",
        "until = said or (",
        "until = (",
        f"{_CLIENT}test_retry_after_is_obeyed_and_nothing_is_asked_meanwhile",
    ),
    (
        "a limit that holds is asked against",
        "            if now < until:\n",
        "            if False:\n",
        f"{_CLIENT}test_retry_after_is_obeyed_and_nothing_is_asked_meanwhile",
    ),
    (
        "a secondary limit holds one resource alone",
        "self._held[resource if used_up else _ALL]",
        "self._held[resource]",
        f"{_CLIENT}test_a_secondary_limit_holds_for_rest_and_graphql",
    ),
    (
        "every 403 is a limit",
        'or "abuse detection" in said',
        "or status == 403",
        f"{_CLIENT}test_a_403_that_is_no_limit_is_a_refusal",
    ),
)

_REFUSALS: Final = of(
    f"{_FORGE}/github/refusals.py",
    (
        "403 is none",
        "if status in {404, 410}:",
        "if status in {403, 404, 410}:",
        f"{_CLIENT}test_what_is_not_there_is_told_from_what_fails {_CLIENT}test_a_missing_permission_is_named",
    ),
    (
        "a refused token is a refusal like others",
        "if status == 401:",
        "if status == 499:",
        f"{_CLIENT}test_a_refused_token_is_said_with_both_ways_out",
    ),
)

_ONCE: Final = of(
    f"{_FORGE}/github/once.py",
    (
        "a lost write is sent again",
        "        except Unanswered:\n            found = self.found(look)",
        "        except Unanswered:\n            found = send()",
        (
            f"{_LIFE}test_a_lost_answer_to_a_remark_is_found_by_its_marker "
            f"{_LIFE}test_an_opening_that_never_arrived_is_tried_by_the_next_call_alone"
        ),
    ),
    (
        "a lost write is not looked up",
        "        except Unanswered:\n            found = self.found(look)",
        "        except Unanswered:\n            found = None",
        f"{_LIFE}test_a_lost_answer_to_opening_is_found_by_the_branch",
    ),
    (
        "what is looked for is looked for once",
        "for wait in self.waits:",
        "for wait in ():",
        f"{_MOMENTS}test_a_lost_answer_is_looked_for_again_where_looks_lag_behind",
    ),
)

_OPENING: Final = of(
    f"{_FORGE}/github/opening.py",
    (
        "any pull request that a look lists is ours",
        'if str(p["head"]["label"]).casefold() == head.casefold()]',
        "]",
        f"{_OPENED}test_a_list_of_every_pull_request_is_not_taken_for_the_branchs",
    ),
    (
        "no answer about a branch is no pull request",
        'found = self._client.pages(f"{self._at}/pulls", head=head, state="all", sort="created", direction="desc")\n',
        (
            "found = []\n        try:\n            found = self._client.pages("
            'f"{self._at}/pulls", head=head, state="all", sort="created", direction="desc")\n'
            "        except Exception:\n            pass\n"
        ),
        f"{_OPENED}test_no_answer_about_a_branch_is_not_that_it_has_no_pull_request",
    ),
    (
        "closed ones are not seen",
        'state="all"',
        'state="open"',
        (
            f"{_EVERY_FORGE}test_a_person_closes_and_reopens {_EVERY_FORGE}test_a_person_merges_early "
            f"{_EVERY_FORGE}test_a_person_who_deletes_the_branch_has_closed_it "
            f"{_OPENED}test_a_branchs_pull_request_is_found_after_it_was_closed"
        ),
    ),
    (
        "where it goes to is not compared",
        'if p["base"]["ref"] == self._target]',
        "]",
        f"{_LIFE}test_one_that_goes_into_another_branch_is_not_taken_for_ours",
    ),
    (
        "one that exists already is an error",
        "if not (_exists(refused) or _unseen(refused)):",
        "if True:",
        f"{_LIFE}test_a_pull_request_that_a_look_did_not_show_is_adopted",
    ),
    (
        "a lost opening finds the one that was closed before",
        "return number if number > before else None",
        "return number or None",
        f"{_OPENED}test_a_lost_opening_is_not_taken_for_the_one_that_was_closed_before",
    ),
    (
        "a fork's branch is looked for upstream",
        "if self._hosted.forked else new.branch\n",
        "if False else new.branch\n",
        f"{_LIFE}test_a_fork_is_pushed_to_and_the_pull_request_opened_upstream",
    ),
    (
        "only the first page of pull requests is read",
        'self._client.pages(f"{self._at}/pulls", head=',
        'self._client.get(f"{self._at}/pulls", head=',
        f"{_OPENED}test_a_branchs_pull_request_is_found_on_whatever_page_it_stands",
    ),
)

_NOTES: Final = of(
    f"{_FORGE}/github/notes.py",
    (
        "a thread is resolved before the reply",
        "            thread = self._say(pull, note)\n",
        (
            "            if note.resolve and note.thread:\n                self._resolve(number, note.thread, note)\n"
            "            thread = self._say(pull, note)\n"
        ),
        f"{_MOMENTS}test_a_thread_is_resolved_after_the_reply_stands_there",
    ),
    (
        "a thread is resolved over what a person said since",
        "or name not in pull.replies or _missed(thread, note):",
        "or name not in pull.replies:",
        f"{_LIFE}test_a_thread_is_not_resolved_over_what_a_person_said_meanwhile",
    ),
    (
        "a marker resolves over what a person said since",
        "return note.resolve and not (thread and _missed(thread, note))",
        "return note.resolve",
        f"{_LIFE}test_a_thread_is_not_resolved_over_what_a_person_said_meanwhile",
    ),
    (
        "a remark is not looked up before it is sent",
        "thread = pull.markers.get(note.marker, self._said.get((number, note.marker)))",
        "thread = self._said.get((number, note.marker))",
        f"{_EVERY_FORGE}test_a_remark_is_written_once {_LIFE}test_a_lost_answer_to_a_remark_is_found_by_its_marker",
    ),
    (
        "what a look does not show yet is said again",
        "self._said[number, note.marker] = thread",
        "pass",
        f"{_LIFE}test_nothing_is_said_twice_though_looks_lag_behind",
    ),
    (
        "a refused remark on a line goes elsewhere",
        "if refused.status != _UNPROCESSABLE or _PENDING in str(refused):",
        "if False:",
        f"{_MOMENTS}test_a_remark_on_a_line_that_is_forbidden_is_said_to_be",
    ),
    (
        "a remark is put on the base",
        '"commit_id": pull.head',
        '"commit_id": pull.base',
        f"{_LIFE}test_a_remark_stands_on_its_line_else_on_its_file_else_in_the_conversation",
    ),
    (
        "a finding is not opened again",
        "if note.reopen and thread and",
        "if False and thread and",
        f"{_EVERY_FORGE}test_a_conversation_can_be_opened_again",
    ),
    (
        "a lost answer to resolving is taken for done",
        "return True if thread and thread.resolved is resolved and name not in pull.shut else None",
        "return True",
        f"{_MOMENTS}test_a_resolving_that_never_arrived_is_not_taken_for_done",
    ),
    (
        "a refused resolving is tried at each look",
        "except GithubRefused as refused:  # the reply stands",
        "except NotFound as refused:  # the reply stands",
        f"{_MOMENTS}test_a_resolving_that_is_refused_holds_up_nothing",
    ),
)

_MERGE: Final = of(
    f"{_FORGE}/github/merge.py",
    (
        "the sha is not sent",
        '{"sha": wish.head, "merge_method": wish.method}',
        '{"merge_method": wish.method}',
        f"{_MOMENTS}test_what_is_pushed_at_the_last_moment_is_not_merged",
    ),
    (
        "the method is always merge",
        '"merge_method": wish.method}',
        '"merge_method": "merge"}',
        f"{_MOMENTS}test_each_method_leaves_the_history_that_it_is_named_for",
    ),
    (
        "a head that moved is merged as it is",
        "    if pull.head != wish.head:\n",
        "    if False:\n",
        f"{_EVERY_FORGE}test_a_head_that_moved_is_not_merged",
    ),
    (
        "objections are merged over",
        "or pull.target != wish.target or opposed(pull):",
        "or pull.target != wish.target:",
        f"{_LIFE}test_an_objection_at_the_last_look_is_heard",
    ),
    (
        "conversations that stand are merged over",
        " or any(t.stands for t in pull.threads)",
        "",
        f"{_EVERY_FORGE}test_what_a_person_says_is_not_merged_over",
    ),
    (
        "where it goes to by now does not matter",
        "or pull.target != wish.target or",
        "or",
        f"{_LIFE}test_one_that_a_person_turned_to_another_branch_is_not_merged",
    ),
    (
        "one that is behind is merged untested",
        'if wish.base and (wish.lacking or pull.status == "BEHIND"):',
        "if False:",
        f"{_LIFE}test_a_base_that_moves_at_the_last_moment_is_tested_first",
    ),
    (
        "what lacks a change of this run is merged",
        'if wish.base and (wish.lacking or pull.status == "BEHIND"):',
        'if wish.base and pull.status == "BEHIND":',
        f"{_LIFE}test_a_head_that_lacks_a_merged_change_of_the_run_is_behind",
    ),
    (
        "required checks that are pending are merged over",
        "if c.required is required and c.state is not CheckState.PASSED]",
        "if c.required is required and c.state is CheckState.FAILED]",
        f"{_MOMENTS}test_a_required_check_that_has_not_passed_is_not_merged_over",
    ),
    (
        "what GitHub has not worked out is fine",
        "    if Mergeable.UNKNOWN in (pull.mergeable, pull.status):\n",
        "    if False:\n",
        f"{_LIFE}test_what_git_hub_has_not_worked_out_is_not_yet",
    ),
    (
        "an administrator overrides",
        "if pull.status == _BLOCKED and self._could_override(pull):",
        "if False:",
        f"{_LIFE}test_an_administrators_token_does_not_override_protection",
    ),
    (
        "how long it was blocked counts on over what was in the way",
        "            self._blocked.pop((wish.number, wish.head), None)\n        return way",
        "            pass\n        return way",
        f"{_LIFE}test_blocked_is_believed_anew_after_what_was_seen_in_the_way",
    ),
    (
        "whoever may bypass a ruleset does",
        '.get("current_user_can_bypass", "never") != "never" for n in ids)',
        '.get("current_user_can_bypass", "never") == "bypassing" for n in ids)',
        f"{_MOMENTS}test_a_token_that_may_bypass_a_ruleset_does_not",
    ),
    (
        "a token that may not merge is a rule of the branch",
        "if refused.status in {403, 404}:",
        "if False:",
        f"{_LIFE}test_a_token_that_may_not_merge_is_named_and_no_rule",
    ),
    (
        "not yet is believed for ever",
        "- since < PATIENCE:",
        "- since < 1e9:",
        f"{_LIFE}test_a_check_that_nobody_sees_is_waited_for_a_while_and_then_named",
    ),
    (
        "the queue takes whatever the head is by then",
        "pull=pull.id, head=wish.head)),",
        "pull=pull.id, head=self._reading.pull(wish.number).head)),",
        f"{_MOMENTS}test_what_is_pushed_at_the_last_moment_is_not_queued",
    ),
    (
        "what merges by itself takes whatever the head is by then",
        "pull=pull.id, head=wish.head, **how)",
        "pull=pull.id, head=self._reading.pull(wish.number).head, **how)",
        f"{_MOMENTS}test_what_is_pushed_at_the_last_moment_does_not_merge_by_itself",
    ),
    (
        "a merge is not remembered before it is sent",
        'self._remember(wish.number, wish.head)\n        self._faults(f"merge:before',
        'self._faults(f"merge:before',
        f"{_LIFE}test_a_driver_killed_between_the_merge_and_the_branch_deletes_it_later",
    ),
    (
        "a refused taking back is taken for done",
        "if self._once.found(look) is None:\n                raise",
        "pass",
        f"{_MOMENTS}test_a_merge_that_cannot_be_taken_back_is_said",
    ),
)

_LOOP: Final = of(
    f"{_FORGE}/github/forge.py",
    (
        "auto-merge is left on after a push",
        "if asked == pull.head and not opposed(pull):",
        "if not opposed(pull):",
        f"{_LIFE}test_github_no_longer_merges_by_itself_what_was_pushed_after",
    ),
    (
        "auto-merge is left on over an objection",
        "if asked == pull.head and not opposed(pull):",
        "if asked == pull.head:",
        f"{_LIFE}test_what_is_said_while_it_queues_takes_it_out",
    ),
    (
        "a person's auto-merge is taken back",
        "if not asked or (pull.auto_merge and not same(pull.auto_merge, login)):",
        "if False:",
        f"{_LIFE}test_what_a_person_asked_github_to_merge_is_left_to_them",
    ),
    (
        "the branch of what we did not ask to be merged is deleted",
        "self._repository.room.ref, _asked(pull.number)) != pull.head:",
        "self._repository.room.ref, _asked(pull.number)) == '-':",
        f"{_MOMENTS}test_what_was_merged_by_hand_with_our_account_keeps_its_branch",
    ),
    (
        "the branch of what a person merged is deleted",
        "        if pull.by and not by_bot and not same(",
        "        if False and not same(",
        f"{_LIFE}test_what_a_person_merged_after_we_had_begun_to_keeps_its_branch",
    ),
    (
        "a branch is deleted though it moved",
        "delete_branch(pull.branch, pull.head)",
        "delete_branch(pull.branch, await self._repository.branch_tip(pull.branch))",
        f"{_LIFE}test_the_branch_stays_where_it_moved_on_or_others_delete_it",
    ),
    (
        "the issue is named again",
        "        if words.search(body):\n            return\n",
        "",
        f"{_LIFE}test_the_issue_is_named_once_however_the_description_says_it",
    ),
    (
        "a look from before our push is believed",
        "if pushed := await self._pushes.unshown(pull):",
        'if pushed := "":',
        f"{_LIFE}test_a_look_from_before_our_push_is_no_forced_push",
    ),
    (
        "another head's failures are run again",
        "pull.state is PullRequestState.OPEN and pull.head == head and",
        "pull.state is PullRequestState.OPEN and",
        f"{_LIFE}test_nothing_runs_again_for_another_head_or_where_nothing_can",
    ),
    (
        "a missing target has no tip",
        "        if not tip:\n",
        "        if False:\n",
        f"{_LIFE}test_a_missing_target_is_said",
    ),
    (
        "it was tested with whatever the base is now",
        "tested_base=standing.tested_base,",
        "tested_base=pull.base,",
        f"{_EVERY_FORGE}test_a_base_that_moved_is_behind",
    ),
    (
        "a head that lacks what this run merged is up to date",
        "behind=told.behind or standing.lacking,",
        "behind=told.behind,",
        f"{_LIFE}test_a_head_that_lacks_a_merged_change_of_the_run_is_behind",
    ),
    (
        "strangers' pushes are taken",
        "foreign=standing.foreign,",
        'foreign="",',
        f"{_LIFE}test_a_push_by_somebody_who_is_not_listened_to_is_foreign",
    ),
)

_RUNS: Final = of(
    f"{_FORGE}/github/runs.py",
    (
        "a run of another head is run again",
        'if before.get("head_sha") != pull.head:',
        "if False:",
        f"{_MOMENTS}test_a_run_of_another_head_is_not_run_again",
    ),
    (
        "jobs that passed run again too",
        'else "rerun-failed-jobs"',
        'else "rerun"',
        f"{_LIFE}test_failed_jobs_run_again_and_are_pending_at_once {_MOMENTS}test_what_passed_does_not_run_again",
    ),
    (
        "a failure that runs again is a failure",
        "if not self.stale(pull):",
        "if True:",
        f"{_MOMENTS}test_a_failure_that_looks_go_on_showing_is_pending",
    ),
    (
        "a re-run that cannot be has begun",
        "return look() is not None",
        "return True",
        f"{_MOMENTS}test_a_run_that_cannot_be_retried_is_not_taken_for_begun",
    ),
    (
        "a re-run that had no answer counts as told",
        "if self._begin(run, pull, keys)}",
        "if self._begin(run, pull, self._untold.setdefault(pull.number, []))}",
        f"{_MOMENTS}test_a_rerun_that_had_no_answer_and_failed_again_is_not_begun_a_third_time",
    ),
    (
        "a re-run that is refused has begun",
        'its failed checks are not run again: %s", pull.url, refused)\n            return False',
        'its failed checks are not run again: %s", pull.url, refused)\n            return True',
        f"{_LIFE}test_nothing_runs_again_for_another_head_or_where_nothing_can",
    ),
)

_PUSHES: Final = of(
    f"{_FORGE}/github/pushes.py",
    (
        "every account's push is taken",
        "if (pushed and pushed.listened) or",
        "if pushed or",
        f"{_LIFE}test_a_push_by_somebody_who_is_not_listened_to_is_foreign",
    ),
    (
        "every merge of the base is one of nothing else",
        "isinstance(again, Merged) and not await self._repository.changed_paths(again.commit, commit)",
        "isinstance(again, Merged)",
        f"{_LIFE}test_a_merge_of_the_base_that_brings_something_else_along_is_foreign",
    ),
    (
        "a branch that was forced back is a look that lags",
        "return ours if await self._repository.branch_tip(pull.branch) == ours else",
        "return ours if True else",
        f"{_LIFE}test_a_branch_that_was_forced_back_to_before_our_push_is_told",
    ),
    (
        "a forced push goes forward",
        "forward = not ours or await self._contains(pull.head, ours)",
        "forward = True",
        f"{_EVERY_FORGE}test_a_persons_push_is_told_from_a_forced_one",
    ),
)

_BEFORE: Final = (
    *of(
        f"{_FORGE}/github/facts.py",
        (
            "who may not push may",
            "return not self.push_permission or self.push_permission in _MAY_PUSH",
            "return True",
            f"{_START}test_what_could_never_end_well_is_refused_in_one_sentence",
        ),
        (
            "no answer about rules is that there are none",
            "    except ForgeBusy:\n        raise\n",
            "",
            f"{_START}test_a_github_that_does_not_answer_is_never_taken_for_one_without_rules",
        ),
        (
            "checks that may not be read are none",
            'if any("statusCheckRollup" in (error.get("path") or ()) for error in errors):',
            "if False:",
            f"{_START}test_what_a_token_may_not_know_is_never_taken_for_forbidden",
        ),
        (
            "only the first page of rules is read at the start",
            "yield from client.pages(",
            "yield from client.get(",
            f"{_START}test_what_gates_a_merge_is_said",
        ),
        (
            "what rulesets require is not required",
            '(rule.get("requiredStatusCheckContexts") or ()), *listed]',
            '(rule.get("requiredStatusCheckContexts") or ())]',
            f"{_START}test_what_gates_a_merge_is_said",
        ),
    ),
    *of(
        f"{_FORGE}/github/workflows.py",
        (
            "a workflow checks every branch",
            'if wanted := filters.get("branches"):',
            "if wanted := None:",
            f"{_START}test_a_workflow_is_a_check_where_its_triggers_let_our_branches_through",
        ),
    ),
    *of(
        f"{_FORGE}/github/place.py",
        (
            "a pull request of another repository is ours",
            "if repository.casefold() != hosted.repository.casefold() or (",
            "if (",
            f"{_PLACE}test_a_pull_request_of_another_repository_is_refused_by_its_name",
        ),
        (
            "a push address on another host is a fork",
            "if pushed is None or pushed.host != found[origin].host:",
            "if pushed is None:",
            f"{_PLACE}test_a_push_address_that_leads_elsewhere_is_refused",
        ),
    ),
)

_WAITING: Final = of(
    "workflow/observe.py",
    (
        "zero checks are green",
        'if policy.checks_none == "pass":',
        "if True:",
        "unit/test_observe.py::test_no_checks_at_all_are_not_green",
    ),
    (
        "zero checks are waited for no time",
        "until = _running_since(change) + policy.checks_grace",
        "until = _running_since(change)",
        "unit/test_observe.py::test_no_checks_at_all_are_not_green",
    ),
)

_REST: Final = (
    *of(
        f"{_FORGE}/github/logs.py",
        (
            "a job's log is asked for by its run",
            "pull.failed_jobs.get(check, ())",
            "pull.runs.get(check, ())",
            f"{_LIFE}test_the_fixer_gets_the_failed_steps_log_and_the_whole_is_kept",
        ),
        (
            "of two jobs of one name only one is read",
            "for job in jobs[:_JOBS])",
            "for job in jobs[:1])",
            f"{_LIFE}test_of_jobs_of_one_name_each_log_that_says_something_else_is_read",
        ),
        (
            "a log is kept with the secrets in it",
            "text = redact(plain(",
            "text = str(plain(",
            f"{_MOMENTS}test_secrets_are_not_in_a_log_that_is_kept",
        ),
        (
            "a log that may not be read is gone",
            "if isinstance(refused, NotFound) else",
            "if True else",
            f"{_MOMENTS}test_a_log_that_may_not_be_read_is_not_said_to_be_gone",
        ),
    ),
    *of(
        f"{_FORGE}/github/look.py",
        (
            "head and base change places",
            "        pull.head,\n        pull.base,",
            "        pull.base,\n        pull.head,",
            f"{_LOOK}test_what_is_not_green_is_told_with_its_address_and_whether_it_is_required",
        ),
        (
            "a conflict is not told",
            "conflicting=pull.mergeable is Mergeable.CONFLICTING,",
            "conflicting=False,",
            f"{_LOOK}test_how_it_stands_is_told",
        ),
        (
            "a lost closing is taken for done",
            "return None if state is PullRequestState.OPEN else state",
            "return state",
            f"{_LOOK}test_a_lost_answer_is_looked_up_and_a_refusal_is_told",
        ),
    ),
    *of(
        f"{_FORGE}/github/access.py",
        (
            "github.com's token goes to every server",
            "    if is_known(host):\n",
            "    if True:\n",
            "unit/test_github_access.py::test_the_variables_of_a_host_go_in_their_order",
        ),
    ),
    *of(
        f"{_FORGE}/github/pace.py",
        (
            "looks may use the whole quota",
            "SHARE: Final = 0.2",
            "SHARE: Final = 1.0",
            f"{_LIFE}test_an_hour_of_looks_takes_a_fifth_of_the_quota_at_most",
        ),
    ),
    *of(
        f"{_FORGE}/github/file.py",
        (
            "a log comes from where it is not encrypted",
            'if address.scheme != "https" and not (',
            "if False and not (",
            f"{_CLIENT}test_a_log_is_fetched_from_encrypted_addresses_alone",
        ),
    ),
)

_NETWORK: Final = (
    *of(
        "adapters/git/remote.py",
        (
            "a push is forced",
            'f"--force-with-lease={ref}:{old and commit_id(old)}"',
            '"--force"',
            (
                f"{_GIT}test_a_push_in_the_last_moment_is_found_and_stays "
                f"{_GIT}test_a_branch_made_by_somebody_else_at_the_same_moment_is_not_overrun"
            ),
        ),
        (
            "a lease expects whatever is there",
            'f"--force-with-lease={ref}:{old and commit_id(old)}"',
            'f"--force-with-lease={ref}"',
            f"{_GIT}test_a_push_in_the_last_moment_is_found_and_stays",
        ),
        (
            "the token goes to the host of a push address",
            'if "ssh" not in {at.protocol, self.main.protocol} and at.origin != self.main.origin:',
            "if False:",
            f"{_GIT}test_a_token_is_not_taken_to_another_host_for_a_push",
        ),
        (
            "git has the token for every host",
            'f"credential.{at.origin}.helper={helper}"',
            'f"credential.helper={helper}"',
            f"{_GIT}test_a_token_is_not_told_to_the_host_that_a_redirect_leads_to",
        ),
        (
            "a fetch that fails found nothing",
            "if remote_answers.absent(complaint):",
            "if True:",
            f"{_GIT}test_a_host_that_is_down_waits",
        ),
        (
            "trouble of the host's own is its last word",
            "        if passing:\n",
            "        if False:\n",
            f"{_GIT}test_trouble_of_the_hosts_own_waits",
        ),
        (
            "a push that is refused has happened",
            "        if reason:\n            return reason\n",
            '        if reason:\n            return ""\n',
            f"{_GIT}test_a_rule_of_the_host_is_told_in_its_own_words",
        ),
        (
            "strangers' objects are not checked",
            "fetch.fsckObjects=true",
            "fetch.fsckObjects=false",
            f"{_GIT}test_a_strangers_broken_objects_do_not_come_in",
        ),
        (
            "the token is sent in the clear",
            "parts.hostname not in _LOOPBACK:",
            "not parts.hostname:",
            f"{_GIT}test_an_address_that_cannot_be_trusted_is_refused",
        ),
        (
            "a git that was killed has answered",
            "if child.returncode < 0:",
            "if False:",
            f"{_GIT}test_a_git_that_is_killed_is_asked_again_later",
        ),
        (
            "what a fork has is read upstream",
            "for at in dict.fromkeys((self.main, self.pushed))",
            "for at in (self.main,)",
            f"{_GIT}test_a_commit_that_only_the_fork_has_is_brought_in",
        ),
    ),
    *of(
        "adapters/git/remote_answers.py",
        (
            "a network that fails is an error for good",
            "if too_often or _OUT_OF_REACH.search(own):",
            "if too_often:",
            f"{_GIT}test_a_network_that_fails_waits_a_minute",
        ),
        (
            "a limit is a missing right",
            "and not too_often:",
            ":",
            f"{_GIT}test_a_network_that_fails_waits_a_minute {_GIT}test_trouble_of_the_hosts_own_waits",
        ),
        (
            "what only a person can mend is waited for",
            "passing = not remedy and bool(",
            "passing = bool(remedy) or bool(",
            f"{_GIT}test_a_workflow_without_its_scope_names_the_way_out",
        ),
        (
            "a host's words are git's",
            'if not line.startswith("remote:"))',
            ")",
            f"{_GIT}test_what_a_person_must_mend_is_no_reason_to_wait",
        ),
    ),
)

MUTATIONS: Final = (
    *_FIELDS,
    *_SAID,
    *_VERDICTS,
    *_LOOKS,
    *_WHO,
    *_TRANSPORT,
    *_LIMITS,
    *_REFUSALS,
    *_ONCE,
    *_OPENING,
    *_NOTES,
    *_MERGE,
    *_LOOP,
    *_RUNS,
    *_PUSHES,
    *_BEFORE,
    *_WAITING,
    *_REST,
    *_NETWORK,
)
