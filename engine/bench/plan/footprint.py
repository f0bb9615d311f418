"""The disk space that items take, and the costs that only their pipeline can count."""

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.config.load import load_config
from engine.contract.errors import UsageError
from engine.contract.item import MARK, PARTS, Item
from engine.contract.pipeline import Pipeline
from engine.ledger.reader import LedgerReader

SAMPLE = 1000
"""The most items whose folders are measured."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """For a sample of items, by id: the bytes of each stage's outputs that are there, with those of
    parts, and the pipeline's costs. `rest` are the bytes of the work folder outside the items'
    folders (the ledger, caches, the finish's output); a file with several names counts once."""

    outputs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rest: int = 0


def read_footprint(
    workdir: Path, pipeline: Pipeline, ids: Sequence[str], seed: int = 0
) -> Footprint:
    """Measure the folders of these items, or of a sample of them.

    Raises UsageError where the pipeline cannot count the costs of one of its items.
    """
    chosen = ids if len(ids) <= SAMPLE else random.Random(seed).sample(ids, SAMPLE)
    with LedgerReader(workdir) as reader:
        last = reader.last_run()
    settings = {}
    if last is not None:
        config = load_config(pipeline, None, {}, (), {}, stored=last.settings)
        settings = {name: stage.settings for name, stage in config.stages.items()}
        pipeline = pipeline.without(config.off)
    seen: set[tuple[int, int]] = set()
    outputs: dict[str, dict[str, int]] = {id_: {} for id_ in chosen}
    costs = {}
    for id_ in chosen:
        item = Item.at(workdir, "", id_)
        for stage in pipeline.names:
            folders = _outputs(item, stage, pipeline)
            if folders:
                outputs[id_][stage] = sum(sum(_sizes(folder, seen)) for folder in folders)
        if pipeline.costs is not None:
            try:
                costs[id_] = dict(pipeline.costs(item, settings))
            except (OSError, ValueError, KeyError) as error:
                raise UsageError(f"the outputs of {id_} cannot be read: {error}") from error
    return Footprint(outputs, costs, sum(_sizes(workdir, seen, leaving_out="items")))


def _outputs(item: Item, stage: str, pipeline: Pipeline) -> list[Path]:
    """The finished outputs of the stage that are there, for the item and its parts."""
    folders = [item.folder]
    for split in pipeline.level(stage):
        folders = _parts(folders, split)
    folders += _parts(folders, stage)  # with each part that it makes, it makes an output
    return [folder / stage for folder in folders if (folder / stage / MARK).is_file()]


def _parts(folders: Iterable[Path], split: str) -> list[Path]:
    """The folders of the parts that the step made of the items, or parts, in these folders."""
    return [part for folder in folders for part in (folder / f"{split}{PARTS}").glob("*")]


def _sizes(folder: Path, seen: set[tuple[int, int]], leaving_out: str = "") -> Iterator[int]:
    """The sizes in bytes of the files in `folder` that are not in `seen`; adds them to `seen`."""
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
