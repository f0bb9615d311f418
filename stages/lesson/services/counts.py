"""What a dry run counts in the place of answers, and what a real run has asked."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import Item, ItemRecord
from stages.files.json_lines import read_lines, write_lines

COUNTS = "requests.jsonl"


@dataclass(frozen=True, slots=True)
class MediaCall:
    """A call that a run would make now, to `host`, about a text with so many characters.

    `kept`: its answer is there already, so that it is neither sent nor paid. Calls with one `key`
    are made once.
    """

    host: str
    key: str
    characters: int
    kept: bool


def write_counts(out: Path, counts: Iterable[MediaCall]) -> None:
    write_lines(out / COUNTS, map(asdict, counts))


def is_counted(folder: Path) -> bool:
    """Whether the output is a dry run's."""
    return (folder / COUNTS).is_file()


def counts_of(item: Item, step: str) -> Iterator[MediaCall]:
    """What a dry run counted at the step, over the item's parts, and the calls of which the answers
    stand there."""
    for part in item.parts_with(step):
        folder = part.output(step)
        if is_counted(folder):
            yield from (MediaCall(**line) for line in read_lines(folder / COUNTS))
            continue
        asked = json.loads((folder / f"{step}.json").read_text("utf-8")).get("asked", 0)
        for number in range(asked):
            yield MediaCall("", f"{part.id} {number}", 0, kept=True)


def counted_lines(records: Iterable[ItemRecord], steps: dict[str, str]) -> Iterator[str]:
    """A line for each step that would call a service; `steps` has what its calls come to: {"image":
    "picture"}."""
    found: dict[str, dict[str, MediaCall]] = {step: {} for step in steps}
    for record in records:
        item = Item(record.id, record.source, record.folder)
        for step in steps:
            found[step].update((one.key, one) for one in counts_of(item, step))
    for step, what in steps.items():
        calls = [one for one in found[step].values() if not one.kept]
        kept = len(found[step]) - len(calls)
        hosts = " and ".join(dict.fromkeys(one.host for one in found[step].values() if one.host))
        if calls:
            characters = sum(one.characters for one in calls)
            also = f"; {_many(kept, 'more answer')} kept already" if kept else ""
            yield (
                f"dry run: {step} would make {_many(len(calls), 'call')} to {hosts}, each for one "
                f"{what}, with {_many(characters, 'character')} of text in all{also}"
            )
        elif kept:
            answers = _many(kept, "answer")
            to = f" to {hosts}" if hosts else ""
            yield f"dry run: {step} would make no call{to}: {answers} kept already"


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
