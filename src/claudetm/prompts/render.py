"""From a brief to the two texts a session is given: a system prompt equal for all of its kind, and the first turn.

A template is packaged, or a file of the same name in the folder of overrides. Either runs in a sandbox, and must not
name what is not there.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from claudetm.errors import ConfigError
from claudetm.prompts.briefs import Brief
from claudetm.prompts.material import instructions, values

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

TEMPLATES: Final = Path(__file__).parent / "templates"
SUFFIX: Final = ".md.j2"
_CAME_WITH: Final = f"_came_with.user{SUFFIX}"


class Prompts:
    """Renders the packaged templates, or the files of the same name in `overrides` where there are such.

    Every method raises ConfigError, naming file, line and reason, for an override that cannot be used.
    """

    def __init__(self, overrides: Path | None = None) -> None:
        self._overrides = overrides

    def system(self, template: str | Brief, project_instructions: str = "") -> str:
        """Return the system prompt of a role, a template or a brief's template; it holds nothing of one session."""
        name = template.template if isinstance(template, Brief) else str(template)
        return self._render(f"{name}.system{SUFFIX}", {"project": instructions(project_instructions)})

    def user(self, brief: Brief) -> str:
        """Return the first turn: goal, item, git state, fenced material, and last what is asked.

        What came with the goal is added where an override leaves it out: one made before there was such a thing does.
        """
        shown = values(brief)
        text = self._render(f"{brief.template}.user{SUFFIX}", shown)
        if left_out := [block for block in shown["material"] if block.partition("\n")[0] not in text]:
            text += "\n" + self._render(_CAME_WITH, {"material": left_out})
        return text

    def check(self) -> None:
        """Compile every override. What only shows when rendered is found by then."""
        for name in self._names():
            self._compile(name)

    def _names(self) -> Iterator[str]:
        if self._overrides is None or not self._overrides.is_dir():
            return
        known = {p.name for p in TEMPLATES.glob(f"*{SUFFIX}")}
        for path in sorted(self._overrides.iterdir()):
            if path.name not in known:
                near = difflib.get_close_matches(path.name, known, n=1)
                raise ConfigError(
                    f"{path} replaces no template{f'; did you mean {near[0]}?' if near else ''}"
                    f" The names are {', '.join(sorted(known))}."
                )
            yield path.name

    @cached_property
    def _environment(self) -> SandboxedEnvironment:
        from jinja2 import FileSystemLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        folders = [*([self._overrides] if self._overrides else []), TEMPLATES]
        return ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            undefined=StrictUndefined,
            autoescape=False,  # text for a model is no HTML
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )

    def _compile(self, name: str) -> Any:
        from jinja2 import TemplateError

        try:
            return self._environment.get_template(name)
        except (TemplateError, UnicodeDecodeError, OSError) as error:
            self._refuse(name, error)

    def _render(self, name: str, values: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError

        template = self._compile(name)
        try:
            text: str = template.render(values)
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            self._refuse(name, error)
        return _spaced(text)

    def _refuse(self, name: str, error: Exception) -> NoReturn:
        """Turn a fault of an override into a sentence; one of our own templates is a bug and stays what it is."""
        if self._overrides is None or (place := self._place(name, error)) is None:
            raise error
        path, line = place
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        where = f"{path}, line {line}" if line else str(path)
        raise ConfigError(f"{where}: {reason}. Correct the prompt, or delete it to use the packaged one.") from error

    def _place(self, name: str, error: Exception) -> tuple[Path, int] | None:
        """Return the override, and its line (0 for all of it), where the error arose; None when there is none."""
        frames = [(f.filename, f.lineno or 0) for f in traceback.extract_tb(error.__traceback__)]
        stated = [(getattr(error, "filename", None) or "", getattr(error, "lineno", None) or 0), *reversed(frames)]
        own = ((Path(file), line) for file, line in stated if Path(file).parent == self._overrides)
        whole = self._overrides / name if self._overrides else None
        return next(own, (whole, 0) if whole and whole.exists() else None)


def _spaced(text: str) -> str:
    """Return the text without trailing blanks, with one empty line before a heading; the material as it is."""
    kept: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.startswith(
            ('<untrusted id="', "</untrusted id=", "<project_instructions>", "</project_instructions>")
        ):
            fenced = not line.startswith("</")
        if line.startswith("#") and not fenced and kept and kept[-1]:
            kept.append("")
        if fenced or line.strip() or (kept and kept[-1]):
            kept.append(line if fenced else line.rstrip())
    return "\n".join(kept).strip() + "\n"
