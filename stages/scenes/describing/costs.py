"""What the words of a video cost: calls, pictures and tokens that leave this machine."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine import Item, ItemRecord
from stages.scenes.describing.composed import COMPOSED, counted
from stages.scenes.describing.counts import Counts, read_counts
from stages.scenes.describing.describe import DESCRIPTION, DescribeScenes
from stages.scenes.describing.summary import SUMMARY, Summarise


def words_costs(item: Item, settings: Mapping[str, Any]) -> Mapping[str, float]:
    """{"calls", "images sent", "minutes of video sent", "tokens", "bytes sent"} of one video, as a
    dry run counted them, minutes only where clips are sent; of a real run the calls alone."""
    counts = [one for step in (DescribeScenes, Summarise) for one in _counted(item, step.name)]
    if not counts:
        paid = sum(map(_is_paid, _outputs(item)))
        return {"calls": paid} if paid else {}
    minutes = round(sum(one.seconds for one in counts) / 60, 2)
    return {
        "calls": sum(one.calls for one in counts),
        "images sent": sum(one.images for one in counts),
        **({"minutes of video sent": minutes} if minutes else {}),
        "tokens": sum(one.tokens for one in counts),
        "bytes sent": sum(one.bytes for one in counts),
    }


def words_counted(records: Iterable[ItemRecord]) -> Iterator[str]:
    """A line for each step of which a dry run counted the calls."""
    whole: dict[str, Counts] = {}
    for record in records:
        item = Item(record.id, record.source, record.folder)
        for step in (DescribeScenes.name, Summarise.name):
            for one in _counted(item, step):
                whole[step] = whole.get(step, Counts(one.host)) + one
    for step, counts in whole.items():
        if not counts.calls:
            kept = counted(counts.kept, "answer")
            yield f"dry run: {step} would make no call to {counts.host}: {kept} kept already"
            continue
        shown = [counted(counts.images, "image")] if counts.images else []
        if counts.clips:
            minutes = f"{counts.seconds / 60:,.1f} minutes of video"
            shown.insert(0, f"{counted(counts.clips, 'clip')} of {minutes}")
        seen = f" with {' and '.join(shown)}" if shown else ""
        what = "of that and of what was found" if shown else "of what was found"
        kept = f"; {counted(counts.kept, 'more call')} answered already" if counts.kept else ""
        yield (
            f"dry run: {step} would make {counted(counts.calls, 'call')}{seen} to {counts.host}, "
            f"about {counts.tokens:,} tokens; {_size(counts.bytes)} {what} would leave this "
            f"machine{kept}"
        )


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 100_000 else f"{number / 1e3:,.1f} kB"


def _counted(item: Item, step: str) -> list[Counts]:
    return [one for place in _places(item, step) for one in read_counts(place)]


def _outputs(item: Item) -> Iterator[Path]:
    """The files with words."""
    for step, name in ((DescribeScenes.name, DESCRIPTION), (Summarise.name, SUMMARY)):
        yield from (place / name for place in _places(item, step) if (place / name).is_file())


def _is_paid(file: Path) -> bool:
    return bool(json.loads(file.read_text())["made_by"] != COMPOSED)


def _places(item: Item, step: str) -> list[Path]:
    """The outputs of a step: of the item's parts, and of the item."""
    places = [part.output(step) for part in item.parts_with(step)]
    return [*places, item.output(step)] if item.has_output(step) else places
