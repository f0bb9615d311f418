"""Finished items of a pipeline, without running it: their outputs, and the context of a finish."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from engine import FinishContext, Item, ItemRecord, Pipeline, load_config
from engine.contract.item import MARK


@dataclass
class Finished:
    """The items of a work folder that have ended."""

    pipeline: Pipeline
    workdir: Path
    records: dict[str, ItemRecord] = field(default_factory=dict)

    def put(self, source: str, stage: str, files: Mapping[str, str]) -> str:
        """The item is done, and `stage` has left these files; returns its id."""
        item = Item.at(self.workdir, source)
        for name, text in {**files, MARK: '{"fingerprint": "f", "files": {}}'}.items():
            file = item.folder / stage / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_text(text)
        self.records[item.id] = ItemRecord(
            item.id, source, item.folder, None, "done", None, None, None, None
        )
        return item.id

    def fail(self, item: str) -> None:
        self._end(item, "failed")

    def _end(self, item: str, outcome: Literal["failed"]) -> None:
        self.records[item] = replace(self.records[item], outcome=outcome)

    def finish(self) -> None:
        assert self.pipeline.finish is not None
        self.pipeline.finish(self._context())

    def finish_item(self, item: str) -> None:
        """Only this one: the finish of an item has no need of the others."""
        assert self.pipeline.finish_item is not None
        self.pipeline.finish_item(self._context(), self.records[item])

    def _context(self) -> FinishContext:
        config = load_config(self.pipeline, None, {}, [], {})
        return FinishContext(
            self.workdir,
            {name: stage.settings for name, stage in config.stages.items()},
            {},
            lambda: iter([self.records[item] for item in sorted(self.records)]),
        )


def texts(folder: Path) -> dict[str, str]:
    """What a person finds in the folder: hidden files are none of that."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part[0] == "." for part in path.relative_to(folder).parts)
    }
