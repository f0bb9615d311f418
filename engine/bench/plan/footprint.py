"""What items leave on the disk, and what they cost that only their pipeline has a word for."""

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.load import load_config
from engine.contract.errors import UsageError
from engine.contract.item import Item
from engine.contract.pipeline import Pipeline
from engine.ledger.reader import LedgerReader

SAMPLE = 1000
"""Items whose folders are looked at, at most."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of a sample of items, by id: the bytes of each stage's output that is there, and the costs
    that the pipeline counts. `rest` are the bytes of the work folder outside of the items' folders
    (the ledger, caches, what a finish made); a file with several names counts once."""

    outputs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rest: int = 0


def read_footprint(
    workdir: Path, pipeline: Pipeline, ids: Sequence[str], seed: int = 0
) -> Footprint:
    """Look at the folders of these items, or of a sample of them.

    Raises UsageError where the pipeline cannot count the costs of an item of its own.
    """
    chosen = ids if len(ids) <= SAMPLE else random.Random(seed).sample(ids, SAMPLE)
    with LedgerReader(workdir) as reader:
        last = reader.last_run()
    settings = {}
    if last is not None:
        config = load_config(pipeline, None, {}, (), {}, stored=last.settings)
        settings = {name: stage.settings for name, stage in config.stages.items()}
    seen: set[tuple[int, int]] = set()
    outputs: dict[str, dict[str, int]] = {id_: {} for id_ in chosen}
    costs = {}
    for id_ in chosen:
        item = Item.at(workdir, "", id_)
        for stage in pipeline.names:
            if item.has_output(stage):
                outputs[id_][stage] = sum(_sizes(item.folder / stage, seen))
        if pipeline.costs is not None:
            try:
                costs[id_] = dict(pipeline.costs(item, settings))
            except (OSError, ValueError, KeyError) as error:
                raise UsageError(f"the outputs of {id_} cannot be read: {error}") from error
    return Footprint(outputs, costs, sum(_sizes(workdir, seen, leaving_out="items")))


def _sizes(folder: Path, seen: set[tuple[int, int]], leaving_out: str = "") -> Iterator[int]:
    """The sizes in bytes of the files in `folder` that are not in `seen`, and are then."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() or entry.name == leaving_out:
                continue
            if entry.is_dir():
                yield from _sizes(Path(entry), seen)
                continue
            status = entry.stat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield status.st_size
