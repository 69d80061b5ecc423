"""Lists that are read page by page, as GitHub reads them: bounds, cursors and what is refused about them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from github_double.moves import RefusedError

LARGEST_PAGE = 100


def refused(kind: str, message: str) -> RefusedError:
    """Return the refusal of a field: it is answered with null, and `errors` has this with the field's path."""
    return RefusedError(200, message, kind=kind)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the query asked of a list."""

    first: int | None = None
    last: int | None = None
    after: str | None = None
    before: str | None = None

    def check(self, name: str, *, read: bool) -> None:
        """Refuse what GitHub refuses. `read` says whether items of the list are selected, not only their number."""
        if self.first is None and self.last is None:
            if read:
                raise refused(
                    "MISSING_PAGINATION_BOUNDARIES",
                    f"You must provide a `first` or `last` value to properly paginate the `{name}` connection.",
                )
            return
        if self.first is not None and self.last is not None:
            raise refused(
                "UNPROCESSABLE",
                f"Passing both `first` and `last` to paginate the `{name}` connection is not supported.",
            )
        for argument, asked in (("first", self.first), ("last", self.last)):
            _check_size(name, argument, asked)


def _check_size(name: str, argument: str, asked: int | None) -> None:
    if asked is not None and asked < 0:
        raise refused("UNPROCESSABLE", f"`{argument}` on the `{name}` connection cannot be less than zero.")
    if asked is not None and asked > LARGEST_PAGE:
        raise refused(
            "EXCESSIVE_PAGINATION",
            f"Requesting {asked} records on the `{name}` connection exceeds the `{argument}` limit of"
            f" {LARGEST_PAGE} records.",
        )


@dataclass(frozen=True, slots=True)
class PageInfo:
    """Where a page stands in its list."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True, slots=True)
class Edge:
    """One item and the cursor that stands for it."""

    node: Any
    cursor: str


class Connection:
    """One page of a list. Items have an `id`, which their cursors are made of, so that a page never moves."""

    def __init__(self, name: str, items: Sequence[Any], bounds: Bounds) -> None:
        self.items = items
        self._name = name
        self.total_count = len(items)
        start = self._after(bounds.after) if bounds.after is not None else 0
        end = self._index(bounds.before) if bounds.before is not None else len(items)
        if bounds.first is not None:
            end = min(end, start + bounds.first)
        if bounds.last is not None:
            start = max(start, end - bounds.last)
        self._start, self._end = start, max(start, end)
        self.nodes = items[self._start : self._end]

    @property
    def page_info(self) -> PageInfo:
        page = self.nodes
        return PageInfo(
            self._end < len(self.items),
            self._start > 0,
            self._cursor(page[0]) if page else None,
            self._cursor(page[-1]) if page else None,
        )

    @property
    def edges(self) -> list[Edge]:
        return [Edge(item, self._cursor(item)) for item in self.nodes]

    def _cursor(self, item: Any) -> str:
        return base64.b64encode(f"cursor:v2:{self._name}:{item.id}".encode()).decode()

    def _after(self, cursor: str) -> int:
        return self._index(cursor) + 1

    def _index(self, cursor: str) -> int:
        """Return the place of the item that a cursor of this very list stands for."""
        for index, item in enumerate(self.items):
            if self._cursor(item) == cursor:
                return index
        raise refused("INVALID_CURSOR_ARGUMENTS", f"`{cursor}` does not appear to be a valid cursor.")


def edge(name: str, items: Iterable[Any], item: Any) -> Edge:
    """Return the edge of one item of a list, as payloads of mutations have it."""
    return next(one for one in Connection(name, list(items), Bounds()).edges if one.node.id == item.id)
