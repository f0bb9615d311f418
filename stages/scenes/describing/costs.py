"""What the words of a video cost: calls, pictures and tokens that leave this machine."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine import Item, ItemRecord
from stages.persistence.records import SUMMARY
from stages.scenes.describing.composed import COMPOSED
from stages.scenes.describing.describe import DESCRIPTION, DescribeScenes
from stages.scenes.describing.summary import Summarise
from stages.vision.counted import counts_of, lines_of_counts, places_of


def words_costs(item: Item, settings: Mapping[str, Any]) -> Mapping[str, float]:
    """{"calls", "images sent", "minutes of video sent", "tokens", "bytes sent"} of one video, as a
    dry run counted them, minutes only where clips are sent; of a real run the calls alone."""
    counts = [one for step in (DescribeScenes, Summarise) for one in counts_of(item, step.name)]
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
    return lines_of_counts(records, (DescribeScenes.name, Summarise.name))


def _outputs(item: Item) -> Iterator[Path]:
    """The files with words."""
    for step, name in ((DescribeScenes.name, DESCRIPTION), (Summarise.name, SUMMARY)):
        yield from (place / name for place in places_of(item, step) if (place / name).is_file())


def _is_paid(file: Path) -> bool:
    return bool(json.loads(file.read_text())["made_by"] != COMPOSED)
