"""What a monitor would take now, in which order, and why not the rest. Nothing is claimed, written or changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from claudetm.ports.results import Results
from claudetm.ports.source import Offer, Source, SourceBusy, SourceRefused, refuse_name


@dataclass(frozen=True, slots=True)
class Prospect:
    """One task that a source lists. `why_not` is one clause, or "" where it would be taken."""

    source: str
    offer: Offer
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be taken, in order; what would not; and a sentence for each source that cannot be asked."""

    taken: tuple[Prospect, ...]
    left: tuple[Prospect, ...]
    troubles: tuple[str, ...]


async def dry_run(sources: Sequence[Source], results: Results) -> Preview:
    """Ask every source once. Raises StoreError."""
    found: list[Prospect] = []
    troubles: list[str] = []
    for source in sources:
        try:
            offers = await source.list()
        except (SourceBusy, SourceRefused) as trouble:
            troubles.append(str(trouble))
            continue
        found += [Prospect(source.name, offer, _why_not(offer, results)) for offer in offers]
    taken = sorted((p for p in found if not p.why_not), key=lambda p: p.offer.priority)
    return Preview(tuple(taken), tuple(p for p in found if p.why_not), tuple(troubles))


def _why_not(offer: Offer, results: Results) -> str:
    if offer.why_not or (why := refuse_name(offer.id)):
        return offer.why_not or why
    return "it has a result" if results.ended(offer.id) else ""
