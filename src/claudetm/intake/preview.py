"""What a monitor would do with what its sources list: what goes on, what is taken in which order, why not the rest.

Pure, and by the rules of the sweep and of the queue: nothing is asked, claimed or written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from claudetm.intake.queue import Entry, Queue
from claudetm.ports.source import FINAL, Offer, refuse_name

_ENDED: Final = "it has ended, and is reported when the monitor runs"


@dataclass(frozen=True, slots=True)
class Prospect:
    """One task. `held`, where it is there, says that it is ours already and goes on; `offer.why_not` why not else."""

    source: str
    offer: Offer
    held: Entry | None = None

    @property
    def taken(self) -> bool:
        """Whether it would be worked."""
        return self.held is not None or not self.offer.why_not


def preview(
    queue: Queue, listed: Iterable[tuple[str, Sequence[Offer]]], ended: Callable[[str], bool]
) -> list[Prospect]:
    """Return what is ours, then what would be taken, each in its order, then the rest.

    `listed` is what each source has, by its name; `ended` says whether a task has its result.
    """
    sources = [(name, offers) for name, offers in listed]
    watched = {name for name, _ in sources}
    ours = [Prospect(e.source, _offer(e), e) for e in queue.held if e.source in watched]
    found = [p for p in _judged(queue, sources, ended) if p.held is None]
    taken = [p for p in found if p.taken]
    order = {id(p): n for n, p in enumerate(taken)}
    taken.sort(key=lambda p: (p.offer.priority, _order(queue, p), order[id(p)]))
    return [*ours, *taken, *(p for p in found if not p.taken)]


def _offer(entry: Entry) -> Offer:
    return Offer(entry.id, entry.title, entry.created, entry.priority, entry.lane)


def _order(queue: Queue, prospect: Prospect) -> float:
    entry = queue.jobs.get(prospect.offer.id)
    return entry.order if entry is not None else float("inf")


def _judged(
    queue: Queue, sources: Sequence[tuple[str, Sequence[Offer]]], ended: Callable[[str], bool]
) -> Iterator[Prospect]:
    whose: dict[str, str] = {}
    for name, offers in sources:
        for offer in offers:
            entry = queue.jobs.get(offer.id)
            owner = whose.setdefault(offer.id, entry.source if entry is not None else name)
            if owner != name:
                yield Prospect(name, replace(offer, why_not=f"it is a task of {owner}"))
            elif entry is not None and entry.ours is not None:
                yield Prospect(name, offer, entry)
            else:
                yield Prospect(name, replace(offer, why_not=_why_not(offer, entry, ended)))


def _why_not(offer: Offer, entry: Entry | None, ended: Callable[[str], bool]) -> str:
    """Return why an offer is not taken, as the sweep and the queue see it, or ""."""
    if entry is not None:
        return _ENDED if entry.status in FINAL else offer.why_not
    if why := offer.why_not or refuse_name(offer.id):
        return why
    return "it has its result already" if ended(offer.id) else ""
