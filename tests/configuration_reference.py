"""The table of settings in docs/configuration.md, made from `config.KEYS`: defaults and forms are never typed twice.

What the code cannot say of a key, what it does, stands here in a sentence or two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final

from claudetm.config import COMPLEXITIES, KEYS, ROLES, TIERS, Key, resolve
from claudetm.errors import ConfigError
from claudetm.plan.model import Complexity
from claudetm.ports.agent import Role
from claudetm.stages.models import choose
from claudetm.workflow.policy import Policy

_WHOSE: Final = {
    **{f"roles.{role}": f"the {role}" for role in ROLES},
    **{f"complexity.{c}": f"a worker whose task the plan calls {c}" for c in COMPLEXITIES},
}

ABOUT: Final[Mapping[str, str]] = {
    "land": "Move the target branch once everything is verified. False leaves the result on the run's own branch. "
    "With GitHub nothing is moved here: each merge is the landing.",
    "git.auto_push": "Push the branch (with the local forge into your repository, not to its remote) after each "
    "finished task. False stops the run before its first push.",
    "merge.auto": "Merge what is green and reviewed. False leaves merging to you.",
    "reviews.self": "Let a fresh session review each pull request. On GitHub, where nothing is set, people do.",
    "verify": "Judge the criteria at the end. False lands the result unproven.",
    "plan.approve": "Stop once there is a plan; `claudetm resume` or `claudetm plan approve` approves it.",
    "plan.pr_per_task": "Make every task a pull request of its own.",
    "pause_on_pr": "Stop whenever a pull request has been opened.",
    "session.audit": "Let the auditor score what a session did, before it is kept.",
    "session.threshold": "The score, of 100, from which a session's work is kept without another round.",
    "session.rounds": "Audits below it before the task is given up, its work kept as a snapshot.",
    "trust_project_settings": "Load the repository's own `.claude` settings, hooks and servers, and take all of a "
    "tracked `config.json`.",
    "api.anthropic_api_key": "A key for the Anthropic API. The environment is a better place for it.",
    "api.anthropic_base_url": "Where the Anthropic API, or a gateway to it, answers.",
    "api.openrouter_api_key": "A key for OpenRouter.",
    "api.openrouter_base_url": "Where OpenRouter answers; a trailing `/v1` is left out.",
    "model": "The model for all work: an alias or a full `claude-…` id. Empty: by role, and by a task's complexity.",
    **{f"models.{tier}": f"The id that `{tier}` stands for. Empty: the alias." for tier in TIERS},
    "models.sonnet_1m": "The id that `sonnet[1m]` stands for. Empty: the alias.",
    **{f"{name}.model": f"The model of {whose}." for name, whose in _WHOSE.items()},
    **{f"{name}.effort": f"The effort of {whose}." for name, whose in _WHOSE.items()},
    "git.target_branch": "The branch to land on. Empty: the default branch of the remote, else the current one.",
    "forge": "Where pull requests live. Auto takes GitHub where the remote is GitHub, else the local forge.",
    "github.api_url": "Where GitHub's REST API answers. Empty: as the remote's host has it. `GITHUB_API_URL` "
    "sets it, too.",
    "merge.method": "How a pull request is merged. The local forge cannot rebase; on GitHub, where nothing is set, "
    "the first that the repository allows of merge, squash and rebase.",
    "checks.commands": "Commands that every merge must pass, run on the merged result. Empty: detected. On GitHub "
    "its own checks gate a merge; these are what agents run.",
    "checks.none": "What to do where there are no checks: refuse the start, or merge untested. On GitHub also "
    "where none has reported within `checks.grace`: block the change, or merge.",
    "checks.timeout": "How long one check may run; on GitHub, how long all of them are waited for after a push.",
    "checks.grace": "How long a forge has to report its first check. The local forge reports at once.",
    "checks.environment": "Names of your environment variables that set-up, checks and criteria get, such as "
    "`PIP_INDEX_URL` for a package index of your own. What they hold, whoever wrote the code that runs can read.",
    "worktree.setup": "Commands that set a fresh checkout up. Empty: detected.",
    "worktree.copy": "Files of your checkout that every worktree gets and no commit may hold, such as `.env`.",
    "reviews.wait": "How long people have to say something before a reviewed pull request merges.",
    "reviews.required": "How many people must approve each pull request.",
    "reviews.trusted": "Accounts that are listened to besides those who may write to the repository, such as "
    "`renovate[bot]`. Of a bot only its inline threads count.",
    "reviews.rounds": "How often people are answered before it is a stalemate; how often the reviewer role reads.",
    "limits.sessions": "Sessions of the run; then it stops.",
    "limits.cost_usd": "Budget of the run in US dollars; then it stops.",
    "limits.session_cost_usd": "Budget of one session. So much of the run's budget is reserved while it lasts.",
    "limits.turns": "Turns of one session.",
    "limits.session_minutes": "Time for one session.",
    "limits.idle_minutes": "How long a session may say nothing before it is ended.",
    "limits.attempts": "Attempts at one task, fix or plan before it is blocked.",
    "limits.fix_rounds": "Fixes of one pull request's red checks before it is blocked.",
    "limits.verify_rounds": "How often failing criteria become further changes before the run is blocked.",
    "plan.max_prs": "Pull requests of the whole run at most, those that mend failing criteria included.",
    "sandbox": "Run agents and commands under bubblewrap: where it works, always, or never.",
    "agent.cli": "The Claude Code that sessions run on: the one that comes along, or the `claude` found on `PATH`.",
    "monitor.source": "Where tasks come from. Empty: Sego PM where anything of it is set, else the directory.",
    "monitor.mode": "How a task is worked that does not say so itself: as a whole goal with pull requests, or in one "
    "audited session. Auto: sessions for Sego PM, goals for the others.",
    "monitor.poll": "How often each source is asked: every 5 s at the most. Events come sooner.",
    "monitor.timeout": "Time for one session of a task. None: 10 minutes for Sego PM, else `limits.session_minutes`.",
    "monitor.client_request_timeout": "Time for the analysis of one client request at Sego PM.",
    "monitor.grace": "How long tasks under way have to come to a stop with the monitor.",
    "monitor.jobs": "How many tasks are worked at a time.",
    "monitor.tasks_dir": "The folder that tasks come from, from where the monitor runs.",
    "monitor.results_dir": "The folder that results go to, a file a task.",
    "monitor.logs_dir": "The folder of `monitor.log`.",
    "monitor.state_dir": "The folder of the queue's journal and of what tells where it stands.",
    "monitor.label": "The label that makes an issue on GitHub a task.",
    "monitor.trusted": "Accounts whose issues are tasks besides those who may write to the repository.",
    "monitor.accounts": "Accounts on GitHub of other monitors of these issues, where they have one of their own: "
    "their claims count.",
    "monitor.skill": "A skill of the project, such as `task-coordination`, that sessions are told to work by.",
    "monitor.auto_commit": "Keep what a session did as commits on `claudetm/task/…`, not only as a snapshot.",
    "monitor.auto_push": "Push that branch. Needs `monitor.auto_commit`.",
    "monitor.update_check": "Look once a day, in the background, whether there is a newer version.",
    "monitor.sego.api_key": "The key for Sego PM. `SEGO_API_KEY` in the environment or in `.env` is a better place.",
    "monitor.sego.api_url": "Where Sego PM answers: https, and plain http on this machine alone.",
    "monitor.sego.project_id": "The project at Sego PM. Empty: all that the key reaches, and no events.",
    "monitor.sego.sse": "Hear of client requests at once, by server-sent events.",
    "monitor.sego.stream_progress": "Show at Sego PM how far a task is, as it goes on.",
    "monitor.sego.conversation_only": "Answer conversations, and do nothing else.",
    "monitor.sego.paths": "Paths of the server's API that are not where they are expected, by what they are for.",
}

GROUPS: Final[Mapping[str, str]] = {
    "Limits": r"limits\.",
    "Plan and verification": r"plan\.|verify|land|pause_on_pr",
    "Sessions": r"session\.",
    "Checks and worktrees": r"checks\.|worktree\.",
    "Pull requests": r"reviews\.|merge\.|git\.|forge|github\.",
    "Models": r"model$|models\.|roles\.|complexity\.",
    "Safety": r"sandbox|trust_project_settings|agent\.cli",
    "The monitor": r"monitor\.",
    "Access to the model": r"api\.",
}
"""The tables, in order, each with how its keys begin."""


def settings() -> str:
    """Return the tables of every key."""
    return "\n\n".join("\n".join(_table(title, start)) for title, start in GROUPS.items())


def _table(title: str, start: str) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield "| key and variable | default | value | what it does |"
    yield "|---|---|---|---|"
    for name, key in KEYS.items():
        if re.match(start, name):
            said = " ".join([ABOUT[name], *_notes(key)])
            yield f"| `{name}`<br>`{key.variable}` | {_default(key)} | {_form(key)} | {said} |"


def _default(key: Key) -> str:
    if key.field == "tuning":
        return f"`{_chosen(key.name)}`"
    value = key.shown(resolve()[key.name])
    return "" if value in ("", []) else f"`{json.dumps(value)}`"


def _chosen(name: str) -> str:
    """Return the model, or the effort, that a first attempt goes by."""
    group, whose, what = name.split(".")
    role = Role(whose) if group == "roles" else Role.WORKER
    complexity = Complexity(whose) if group == "complexity" else Complexity.CODING
    return choose(role, complexity, 1, Policy())[what == "effort"]


def _form(key: Key) -> str:
    """Return what a value must be, in the words of the error that refuses another."""
    try:
        resolve({key.name: object()})
    except ConfigError as error:
        found = re.search(r" must be (.*), not ", str(error))
        form = found[1] if found else ""
    return f"{form}; or none" if _takes_none(key) else form


def _takes_none(key: Key) -> bool:
    try:
        return key.parse("none") is None
    except Exception:  # noqa: BLE001 - whatever refuses it
        return False


def _notes(key: Key) -> Iterator[str]:
    if key.guarded:
        yield "*Yours alone.*"
    elif key.looser is not None:
        yield "*Never looser.*"
    if key.name.startswith("api."):
        yield "*At the next resume.*"
    elif key.name.startswith("monitor."):
        yield "*At the monitor's next start.*"
    elif not key.field:
        yield "*At the next start.*"
