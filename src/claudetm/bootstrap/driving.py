"""Wiring the ports of one run and driving it to where it can go no further."""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from claudetm import __version__
from claudetm.adapters.agent import containment
from claudetm.adapters.agent.claude_sdk import AgentSettings, ClaudeAgent
from claudetm.adapters.agent.cli import cli_on_path
from claudetm.adapters.agent.environment import rehearsal_environment
from claudetm.adapters.commands.runner import CommandRunner, RunnerSettings
from claudetm.adapters.forge.github.place import hosted_from_data
from claudetm.adapters.forge.local import LocalForge
from claudetm.adapters.forge.local_checks import CheckSettings
from claudetm.adapters.forge.local_journal import ForgeJournal
from claudetm.adapters.git.git import identity
from claudetm.adapters.git.run_repository import RunRepository
from claudetm.adapters.store.directory import VIEWS, FileInbox, FileViews, RunViews, WaitView, run_folder
from claudetm.bootstrap import github, modes
from claudetm.bootstrap.clock import SystemClock
from claudetm.bootstrap.opening import Opened
from claudetm.bootstrap.signals import heeded
from claudetm.engine import inbox
from claudetm.engine.commit import Listener, Writer
from claudetm.engine.loop import Driver, Ending
from claudetm.errors import StoreError, UsageError
from claudetm.ports.agent import Progress
from claudetm.ports.forge import Forge
from claudetm.ports.store import Command
from claudetm.prompts.render import Prompts
from claudetm.redact import learn, secrets_of
from claudetm.stages.context import Context
from claudetm.workflow.limits import Wait
from claudetm.workflow.run import Run


@dataclass(frozen=True, slots=True)
class Screen:
    """Who is told what happens, as it happens."""

    event: Listener = lambda _run, _record: None
    progress: Callable[[Progress], None] = lambda _progress: None
    wait: Callable[[Wait], None] = lambda _wait: None
    stopping: Callable[[str], None] = lambda _sentence: None


async def drive(
    opened: Opened, screen: Screen, resume: Mapping[str, Any] | None = None, *, leaves: bool = False
) -> Ending:
    """Drive the run; `resume` holds raised limits when it is carried on. The caller closes `opened`.

    One that `leaves` ends where only people at the forge can take it further.
    """
    run, state = opened.run, opened.state
    files = FileViews(state.root)
    files.sweep(VIEWS)
    views, waits = RunViews(files), WaitView(files)
    writer = Writer(run, opened.journal, SystemClock(), (views, lambda *_: waits.over(), screen.event))
    screen = replace(screen, progress=_then(waits.over, screen.progress))
    folder = run_folder(opened.user.root, run.id)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    logging.getLogger("claude_agent_sdk").addHandler(logging.NullHandler())  # what it says is in the session's end
    async with _model(run.rehearsal, opened.access) as environment:
        context = _context(opened, folder, environment, writer, screen)
        box = FileInbox(state.inbox)
        if resume is not None:
            await inbox.take(writer, box)  # what was said before the resume goes before it
            if refused := await inbox.apply(writer, Command(str(uuid.uuid4()), "resume", resume)):
                raise UsageError(refused.rstrip("."))

        def waiting(wait: Wait) -> None:
            views.flush()
            waits.show(wait)
            screen.wait(wait)

        made_with = _wired(run)

        def refit() -> Context | None:
            nonlocal made_with
            if made_with == (made_with := _wired(run)):
                return None
            return replace(_context(opened, folder, environment, writer, screen), stop=context.stop)

        driver = Driver(context, writer, box, __version__, os.getpid(), on_wait=waiting, refit=refit, leaves=leaves)
        with heeded(_stopped_by(context, box, screen.stopping)):
            try:
                return await driver.drive()
            finally:
                views.flush()
                waits.over()


def _then(first: Callable[[], None], tell: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Return what does the one, then tells the other."""

    def told(progress: Progress) -> None:
        first()
        tell(progress)

    return told


_SECRET: Final = re.compile(r"(?i)token|passw|secret|key|auth")
"""Names a variable that holds a secret."""


def _wired(run: Run) -> tuple[object, ...]:
    """Return the settings that the ports are made with: one that changes makes them anew."""
    policy = run.policy
    return (
        policy.sandbox,
        policy.cli,
        policy.copy,
        policy.trust_project_settings,
        policy.checks,
        policy.setup,
        policy.checks_timeout,
        policy.checks_environment,
        policy.trusted,
        github.adopted_branch(run),
    )


def _context(opened: Opened, folder: Path, environment: Mapping[str, str], writer: Writer, screen: Screen) -> Context:
    run, state, user = opened.run, opened.state, opened.user
    policy = run.policy
    contained = containment.choose(policy.sandbox)
    for secret in secrets_of(os.environ, filter(_SECRET.search, policy.checks_environment)):
        learn(secret)  # a command may print it
    place = hosted_from_data(run.hosted) if run.hosted else None
    remote = github.remote_of(place) if place else modes.remote_kept(run.keep)
    repository = RunRepository(folder, user, run.id, run.base, policy.copy, remote=remote)
    if branch := github.adopted_branch(run):
        repository.adopt_branch(branch)
    commands = CommandRunner(
        RunnerSettings(run.id, folder / "commands-home", contained, [folder], policy.checks_environment)
    )
    who = identity(user.author)
    agent = ClaudeAgent(
        AgentSettings(
            home=folder / "agent-home",
            logs=state.logs,
            containment=contained,
            identity=(who["GIT_AUTHOR_NAME"], who["GIT_AUTHOR_EMAIL"]),
            workspace=folder,
            readable=[state.logs / "checks"],  # the fixer is told where the whole log of a failure is
            environment=environment,
            trust_project_settings=policy.trust_project_settings,
            cli=cli_on_path(os.environ.get("PATH")) if policy.cli == "path" else None,
        )
    )
    forge: Forge
    if place:
        forge = github.forge_of(place, opened.token or github.token_of(place), run, repository, state)
    else:
        checks = CheckSettings(policy.checks, state.logs / "checks", policy.setup, policy.checks_timeout)
        records = ForgeJournal(state.root / "forge" / "journal.jsonl")
        forge = LocalForge(repository, run.target, records, commands, checks)
    return Context(
        run=run,
        agent=agent,
        forge=forge,
        repository=repository,
        commands=commands,
        clock=SystemClock(),
        prompts=Prompts(state.prompts if state.prompts.is_dir() else None),
        logs=state.logs,
        record=writer.append,
        progress=screen.progress,
    )


@asynccontextmanager
async def _model(rehearsal: str, access: Mapping[str, str]) -> AsyncIterator[Mapping[str, str]]:
    """Yield what the agent's environment needs for the model: the real one, or the scripted one of a rehearsal."""
    if not rehearsal:
        yield access
        return
    from claudetm.testing.scripted_model.scenario import load
    from claudetm.testing.scripted_model.serve import serve

    async with serve(load(rehearsal)) as model:
        yield rehearsal_environment(model.url)


def _stopped_by(context: Context, box: FileInbox, stopping: Callable[[str], None]) -> Callable[[str, bool], None]:
    """Return what stops the run at a signal as `claudetm stop` does; at a second one the process ends."""

    def stop(reason: str, again: bool) -> None:
        if again:  # the event alone may stand for a change that was dropped
            raise KeyboardInterrupt
        context.stop.set()
        stopping(f"stopping: {reason}; Ctrl+C again ends at once")
        with suppress(StoreError):  # a state directory that is gone ends the driver by itself
            box.send(Command(str(uuid.uuid4()), "stop", {"reason": reason}))

    return stop
