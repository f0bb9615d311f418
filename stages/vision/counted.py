"""What dry runs counted, in words and by item."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from engine import Item, ItemRecord
from stages.vision.counts import Counts, read_counts


def counted(number: int, what: str) -> str:
    """In words: 1 scene, 1,200 scenes."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def lines_of_counts(records: Iterable[ItemRecord], steps: Sequence[str]) -> Iterator[str]:
    """A line for each step of which a dry run counted the calls."""
    whole: dict[str, Counts] = {}
    for record in records:
        item = Item(record.id, record.source, record.folder)
        for step in steps:
            for one in counts_of(item, step):
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


def counts_of(item: Item, step: str) -> list[Counts]:
    """What a dry run counted of the item and its parts at this step."""
    return [one for place in places_of(item, step) for one in read_counts(place)]


def places_of(item: Item, step: str) -> list[Path]:
    """The outputs of a step: of the item's parts, and of the item."""
    places = [part.output(step) for part in item.parts_with(step)]
    return [*places, item.output(step)] if item.has_output(step) else places


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 100_000 else f"{number / 1e3:,.1f} kB"
