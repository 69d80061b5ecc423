"""What templates see of a brief: text that is bounded and, where it is not ours or the user's, fenced.

No template, an overriding one neither, can so let a stranger's text out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile
from pathlib import PurePosixPath
from typing import Any, Final

from claudetm.plan.model import Change, Criterion, Plan, Task
from claudetm.ports.repository import Commit
from claudetm.prompts import bounds
from claudetm.prompts.briefs import (
    BRIEFS,
    AnalystBrief,
    AuditorBrief,
    Brief,
    ConfirmBrief,
    ExtendBrief,
    FailedCriterion,
    FixerBrief,
    PlannerBrief,
    ResponderBrief,
    ReviewerBrief,
    SessionBrief,
    UpdaterBrief,
    VerifierBrief,
    WorkerBrief,
)
from claudetm.prompts.excerpt import excerpt
from claudetm.prompts.fence import clear, disarm, fence, visible
from claudetm.workflow.pull_request import Thread
from claudetm.workflow.run import Audit

_GOAL_FILE: Final = "goal.txt in the state directory"
_PLAN_FILE: Final = "plan.md in the state directory"
_JOURNAL: Final = "journal.jsonl in the state directory"
_LOGS: Final = "logs/ in the state directory"


def values(brief: Brief) -> dict[str, Any]:
    """Return what the brief's user template may name. Raises TypeError for a brief that has no template."""
    return _common(brief) | _special(brief)


def instructions(text: str) -> str:
    """Return the project's own instructions to agents, bounded, unable to end the tags they are put between."""
    return bounds.head(disarm(visible(text)).strip(), bounds.PROJECT, "CLAUDE.md or AGENTS.md in the repository")


def _line(text: str) -> str:
    """Return trusted text as one line that cannot be mistaken for a tag of ours."""
    return bounds.line(disarm(visible(text[: 4 * bounds.EXACT])), bounds.EXACT)


def _own(text: str, most: int, whole: str) -> str:
    """Return the user's or the planner's text, bounded."""
    return bounds.head(disarm(visible(text)).strip(), most, whole)


def _fenced(brief: Brief, block: str, text: str, most: int, whole: str) -> str:
    """Return a stranger's text, bounded and fenced, or "" when there is none."""
    return fence(brief.run, block, bounds.head(clear(text[: 4 * most]), most, whole)) if text.strip() else ""


def _excerpt(text: str, most: int, whole: str) -> str:
    """Return both ends of a stranger's text, cleared."""
    return bounds.ends(clear(bounds.ends(text, 4 * most, whole)), most, whole)


def _listed(brief: Brief, block: str, items: Sequence[str], whole: str, most: int = bounds.LIST) -> str:
    """Return a stranger's items, a line each, bounded and fenced, or ""."""
    return fence(brief.run, block, bounds.lines(items, most, whole, clear)) if items else ""


def _common(brief: Brief) -> dict[str, Any]:
    newest_last = tuple(reversed(brief.learnings))
    return {
        "subject": _line(brief.subject),
        "cwd": brief.cwd,
        "goal": _own(brief.goal, bounds.GOAL, _GOAL_FILE),
        "issue": _fenced(brief, "issue", brief.issue, bounds.ISSUE, "the issue"),
        "material": _material(brief),
        "learnings": _listed(brief, "learnings", newest_last, "context.md in the state directory", bounds.LEARNINGS),
    }


def _material(brief: Brief) -> list[str]:
    """Return what came with the goal, each text behind a fence of its own; a whole task's may be longer."""
    most = bounds.CAME_WITH if isinstance(brief, (SessionBrief, AuditorBrief, AnalystBrief)) else bounds.MATERIAL
    texts = [clear(f"{m.title}\n\n{m.text}"[: 4 * most]) for m in brief.material[: bounds.SHOWN]]
    shares = bounds.shares([len(t.encode()) for t in texts], most)
    shown = [bounds.head(text, share, _JOURNAL) for text, share in zip(texts, shares, strict=True)]
    return [fence(brief.run, f"material {n}", text) for n, text in enumerate(shown, 1)]


def _special(brief: Brief) -> dict[str, Any]:
    match brief:
        case PlannerBrief():
            return _planner(brief)
        case ExtendBrief():
            return _extend(brief)
        case WorkerBrief():
            return _worker(brief)
        case FixerBrief():
            return _fixer(brief)
        case ReviewerBrief():
            return _reviewer(brief)
        case ResponderBrief():
            return _responder(brief)
        case UpdaterBrief():
            return _updater(brief)
        case VerifierBrief():
            return _verifier(brief)
        case ConfirmBrief():
            return _confirm(brief)
        case SessionBrief():
            return _session(brief)
        case AuditorBrief():
            return _auditor(brief)
        case AnalystBrief():
            return _analyst(brief)
        case _:
            raise TypeError(f"{type(brief).__name__} is none of {', '.join(b.__name__ for b in BRIEFS)}")


def _planner(brief: PlannerBrief) -> dict[str, Any]:
    criteria = [f"- {_line(c)}" for c in brief.user_criteria]
    return _sent_back(brief) | {
        "user_criteria": bounds.lines(
            criteria, bounds.PLAN, "criteria.txt in the state directory", item_most=bounds.NOTE
        ),
        "rejection": _own(brief.rejection, bounds.NOTE, _LOGS),
    }


def _extend(brief: ExtendBrief) -> dict[str, Any]:
    shown = brief.failing[: bounds.SHOWN]
    share = bounds.PLAN // max(len(shown), 1)
    return _sent_back(brief) | {
        "failing": [
            {
                "criterion": bounds.head(_criterion(f.criterion), share, _PLAN_FILE),
                "verdict": _line(f.verdict),
                "log": _line(f.log),
                "evidence": _listed(brief, f"evidence {n}", _seen(f), f.log or "the receipt", share),
            }
            for n, f in enumerate(shown, 1)
        ],
        "unshown": len(brief.failing) - len(shown),
        "finished": bounds.lines([_named(c) for c in brief.finished], bounds.LIST, _PLAN_FILE),
        "vetoed": bounds.lines([_named(c) for c in brief.vetoed], bounds.LIST, _PLAN_FILE),
    }


def _seen(failed: FailedCriterion) -> list[str]:
    return [*failed.evidence, *([f"missing: {failed.missing}"] if failed.missing else [])]


def _sent_back(brief: PlannerBrief | ExtendBrief) -> dict[str, Any]:
    proposal = _outline(brief.proposal) if brief.proposal else ""
    return {
        "files": _listed(brief, "files", _overview(brief.files), "Glob", bounds.TREE),
        "file_count": len(brief.files),
        "checks": bounds.lines([f"- `{_line(c)}`" for c in brief.checks], bounds.LIST, "the configuration"),
        "findings": bounds.lines([f"- {_line(f)}" for f in brief.findings], bounds.LIST, _LOGS),
        "proposal": bounds.head(proposal, bounds.PLAN, _LOGS),
        "pr_per_task": brief.pr_per_task,
        "max_prs": brief.max_prs,
    }


def _worker(brief: WorkerBrief) -> dict[str, Any]:
    later = list(dropwhile(lambda t: t.id != brief.task.id, brief.change.tasks))[1:]
    done = [
        f"{d.task.id} {d.task.title}{' (was true already)' if d.skipped else ''}: {d.summary}" for d in brief.done
    ]
    return {
        "change": _named(brief.change),
        "why": _own(brief.change.why, bounds.NOTE, _PLAN_FILE),
        "task": _task(brief.task),
        "later": bounds.lines([f"- {t.id}: {_line(t.title)}" for t in later], bounds.LIST, _PLAN_FILE),
        "done": _listed(brief, "done tasks", done, "git log"),
        "from_commit": _line(brief.from_commit),
        "head": _line(brief.head),
        "commits": _listed(brief, "commits", _commits(brief.commits), f"git log {brief.from_commit}..HEAD"),
        "leftovers": _leftovers(brief, brief.modified, brief.untracked),
        "attempt": brief.attempt,
        "previous": _fenced(brief, "previous session", brief.previous, bounds.NOTE, _LOGS),
        "remaining": _listed(brief, "remaining", brief.remaining, _LOGS),
    }


def _fixer(brief: FixerBrief) -> dict[str, Any]:
    shown = brief.failed[: bounds.CHECK_LOGS]
    return {
        "change": _named(brief.change),
        "acceptance": _acceptance(brief.change),
        "base": _line(brief.base),
        "head": _line(brief.head),
        "behind": brief.behind,
        "checks": [
            {
                "log": _line(f.log),
                "command": _line(f.command),
                "how": _line(f.how),
                "on_base": _line(f.on_base),
                "material": fence(
                    brief.run,
                    f"check {n}",
                    f"{_line(f.name)}\n\n{excerpt(clear(f.excerpt), bounds.CHECK_LOG, f.log)}",
                ),
            }
            for n, f in enumerate(shown, 1)
        ],
        "others": _listed(
            brief, "other checks", [f"{f.name}: {f.log}" for f in brief.failed[len(shown) :]], "the forge"
        ),
        "tried": _listed(brief, "tried", brief.tried, "git log"),
        "leftovers": _leftovers(brief, brief.modified, brief.untracked),
    }


def _reviewer(brief: ReviewerBrief) -> dict[str, Any]:
    found = [f"{e.id}: {e.path}:{e.line}: {e.claim}" for e in brief.earlier]
    return {
        "change": _named(brief.change),
        "why": _own(brief.change.why, bounds.NOTE, _PLAN_FILE),
        "acceptance": _acceptance(brief.change),
        "base": _line(brief.base),
        "head": _line(brief.head),
        "commits": _listed(brief, "commits", _commits(brief.commits), f"git log {brief.base}..{brief.head}"),
        "paths": _listed(brief, "paths", brief.paths, f"git diff --stat {brief.base}...{brief.head}"),
        "earlier": _listed(brief, "earlier findings", found, "the pull request", bounds.THREADS),
    }


def _responder(brief: ResponderBrief) -> dict[str, Any]:
    shown = brief.threads[: bounds.SHOWN]
    share = bounds.THREADS // max(len(shown), 1)
    return {
        "change": _named(brief.change),
        "acceptance": _acceptance(brief.change),
        "base": _line(brief.base),
        "head": _line(brief.head),
        "threads": [
            {
                "id": _line(t.id),
                "material": fence(brief.run, f"thread {n}", _excerpt(_conversation(t), share, "the pull request")),
            }
            for n, t in enumerate(shown, 1)
        ],
        "unshown": len(brief.threads) - len(shown),
        "leftovers": _leftovers(brief, brief.modified, brief.untracked),
    }


def _updater(brief: UpdaterBrief) -> dict[str, Any]:
    return {
        "change": _named(brief.change),
        "acceptance": _acceptance(brief.change),
        "base": _line(brief.base),
        "head": _line(brief.head),
        "ours": _own(brief.ours or brief.change.why, bounds.NOTE, _PLAN_FILE),
        "theirs": _listed(brief, "their side", brief.theirs.splitlines(), f"git log HEAD..{brief.base}"),
        "their_diff": _fenced(
            brief,
            "their diff",
            brief.their_diff,
            bounds.DIFF,
            f"git diff {brief.fork} {brief.base} -- the paths in conflict",
        ),
        "fork": _line(brief.fork),
        "conflicted": _listed(brief, "conflicts", brief.conflicted, "git status"),
        "leftovers": _leftovers(brief, brief.modified, brief.untracked),
    }


def _verifier(brief: VerifierBrief) -> dict[str, Any]:
    return {
        "criteria": bounds.lines(
            [_criterion(c) for c in brief.criteria], bounds.PLAN, _PLAN_FILE, item_most=bounds.NOTE
        ),
        "commit": _line(brief.commit),
        "base": _line(brief.base),
    }


def _confirm(brief: ConfirmBrief) -> dict[str, Any]:
    return {
        "change": _named(brief.change),
        "task": _task(brief.task),
        "commit": _line(brief.commit),
        "evidence": _listed(brief, "claimed evidence", brief.evidence, _LOGS),
    }


def _session(brief: SessionBrief) -> dict[str, Any]:
    return {
        "asked": _own(brief.goal, bounds.ASKED, _GOAL_FILE),
        "title": _line(brief.title),
        "skill": _line(brief.skill),
        "base": _line(brief.base),
        "head": _line(brief.head),
        "commits": _listed(brief, "commits", _commits(brief.commits), f"git log {brief.base}..HEAD"),
        "leftovers": _leftovers(brief, brief.modified, brief.untracked),
        "attempt": brief.attempt,
        "previous": _fenced(brief, "previous session", brief.previous, bounds.NOTE, _LOGS),
        "score": brief.audit.score if brief.audit else None,
        "notes": _notes(brief, brief.audit),
        "report": _fenced(brief, "last report", brief.report, bounds.REPORT, _LOGS),
    }


def _notes(brief: Brief, audit: Audit | None) -> str:
    return _fenced(brief, "audit notes", audit.notes, bounds.TASK, _LOGS) if audit else ""


def _auditor(brief: AuditorBrief) -> dict[str, Any]:
    return {
        "asked": _own(brief.goal, bounds.ASKED, _GOAL_FILE),
        "title": _line(brief.title),
        "base": _line(brief.base),
        "head": _line(brief.head),
        "commits": _listed(brief, "commits", _commits(brief.commits), f"git log {brief.base}..{brief.head}"),
        "paths": _listed(brief, "paths", brief.paths, f"git diff --stat {brief.base}...{brief.head}"),
        "claim": _fenced(brief, "claim", brief.claim, bounds.NOTE, _LOGS),
        "report": _fenced(brief, "report", brief.report, bounds.TOLD, _LOGS),
        "score": brief.earlier.score if brief.earlier else None,
        "notes": _notes(brief, brief.earlier),
    }


def _analyst(brief: AnalystBrief) -> dict[str, Any]:
    return {
        "asked": _own(brief.goal, bounds.ASKED, _GOAL_FILE),
        "title": _line(brief.title),
        "commit": _line(brief.commit),
    }


# --- parts -------------------------------------------------------------------------------------------------------


def _named(change: Change) -> str:
    return f"{_line(change.id)}: {_line(change.title)}"


def _task(task: Task) -> str:
    """Return the task as Markdown, bounded."""
    parts = [f"**{_line(task.id)}: {_line(task.title)}**"]
    parts += [disarm(visible(task.what)).strip()] if task.what.strip() else []
    parts += [f"Files: {', '.join(_line(f) for f in task.files)}"] if task.files else []
    parts += ["Acceptance:\n" + "\n".join(f"- {_line(a)}" for a in task.acceptance)] if task.acceptance else []
    parts += [f"Check: `{_line(task.check)}`"] if task.check else []
    return bounds.head("\n\n".join(parts), bounds.TASK, _PLAN_FILE)


def _acceptance(change: Change) -> str:
    """Return the change's tasks with what each must show, bounded."""
    found: list[str] = []
    for t in change.tasks:
        found.append(f"- {_line(t.id)}: {_line(t.title)}")
        found += [f"  - {_line(a)}" for a in t.acceptance]
    return bounds.head("\n".join(found), bounds.TASK, _PLAN_FILE)


def _criterion(criterion: Criterion) -> str:
    command = f" (command: `{_line(criterion.command)}`)" if criterion.command else ""
    return f"- {_line(criterion.id)}: {_line(criterion.text)}{command}"


def _outline(plan: Plan) -> str:
    found: list[str] = []
    for c in plan.changes:
        needs = f" (after {', '.join(_line(d) for d in c.depends_on)})" if c.depends_on else ""
        found.append(f"- {_named(c)}{needs}")
        for t in c.tasks:
            found.append(f"  - {_line(t.id)}: {_line(t.title)} [{', '.join(_line(f) for f in t.files)}]")
            found += [f"    - {_line(a)}" for a in t.acceptance]
    return "\n".join([*found, *(_criterion(k) for k in plan.criteria)])


def _commits(commits: Sequence[Commit]) -> list[str]:
    return [f"{c.id[:12]} {c.subject}" for c in commits]


def _leftovers(brief: Brief, modified: Sequence[str], untracked: Sequence[str]) -> str:
    paths = [*(f"modified: {p}" for p in modified), *(f"untracked: {p}" for p in untracked)]
    return _listed(brief, "uncommitted files", paths, "git status")


def _conversation(thread: Thread) -> str:
    place = f"{thread.path}:{thread.line}" if thread.line else thread.path or "on the whole change"
    return "\n\n".join([place, *(f"{'claudetm' if c.ours else c.author}: {c.body}" for c in thread.comments)])


def _overview(files: Sequence[str]) -> list[str]:
    """Return the paths when they fit; else folders with how many files each holds, the shallow ones first."""
    if sum(len(f.encode()) + 1 for f in files) <= bounds.TREE:
        return sorted(files)
    counts: dict[str, int] = {}
    for file in files:
        for parent in PurePosixPath(file).parents:
            counts[str(parent)] = counts.get(str(parent), 0) + 1
    top = [f for f in files if "/" not in f]
    return [*sorted(top), *(f"{d}/ ({n} files)" for d, n in sorted(counts.items(), key=_depth) if d != ".")]


def _depth(folder: tuple[str, int]) -> tuple[int, str]:
    return folder[0].count("/"), folder[0]
