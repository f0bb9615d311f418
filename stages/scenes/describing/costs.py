"""What the words of a video cost: calls, pictures and tokens that leave this machine."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine import Item, ItemRecord
from stages.scenes.describing.counts import Counts, read_counts
from stages.scenes.describing.describe import DescribeScenes
from stages.scenes.describing.summary import Summarise


def words_costs(item: Item, settings: Mapping[str, Any]) -> Mapping[str, float]:
    """{"calls", "images sent", "tokens", "bytes sent"} of one video, as a dry run counted them."""
    counts = [one for step in (DescribeScenes, Summarise) for one in _counted(item, step.name)]
    if not counts:
        return {}
    return {
        "calls": sum(one.calls for one in counts),
        "images sent": sum(one.images for one in counts),
        "tokens": sum(one.tokens for one in counts),
        "bytes sent": sum(one.bytes for one in counts),
    }


def words_counted(records: Iterable[ItemRecord]) -> Iterator[str]:
    """A line for each step of which a dry run counted the calls, and one on where they would go."""
    whole: dict[str, Counts] = {}
    for record in records:
        item = Item(record.id, record.source, record.folder)
        for step in (DescribeScenes.name, Summarise.name):
            for one in _counted(item, step):
                whole[step] = whole.get(step, Counts(one.host)) + one
    for step, counts in whole.items():
        kept = f"; {counts.kept:,} more are answered already" if counts.kept else ""
        yield (
            f"dry run: {step} would make {counts.calls:,} calls with {counts.images:,} images to "
            f"{counts.host}, about {counts.tokens:,} tokens; {counts.bytes / 1e6:,.1f} MB of "
            f"pictures and of what was found would leave this machine{kept}"
        )
    if whole:
        yield "dry run: nothing was sent; the next run without it writes the words"


def _counted(item: Item, step: str) -> list[Counts]:
    places = [part.output(step) for part in item.parts_with(step)]
    if item.has_output(step):
        places.append(item.output(step))
    return [one for place in places for one in read_counts(place)]
