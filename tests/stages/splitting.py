"""Runs a splitting stage without the engine, and puts its parts together."""

import shutil
from pathlib import Path

from engine import Item, Parts, Stage
from engine.contract.parts import MadePart, Positions


class Collector:
    """Takes parts, the last one at each position."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folders: dict[int, Path] = {}
        self._made = 0
        self.expected: int | None = None

    def scratch(self, position: int) -> Path:
        self._made += 1
        folder = self.folder / f"{position}-{self._made}"
        folder.mkdir(parents=True)
        return folder

    def drop(self, folder: Path) -> None:
        shutil.rmtree(folder)

    def take(self, part: MadePart) -> None:
        self.folders[part.position] = part.folder

    async def atake(self, part: MadePart) -> None:
        self.take(part)

    def expect(self, count: int) -> None:
        self.expected = count


def split_whole(stage: Stage, item: Item, out: Path, standing: Positions | None = None) -> int:
    """Have the stage split the item, and put the files of all parts into `out` too, lines of
    JSON files joined; returns the number of parts."""
    collector = Collector(out.with_name(f"{out.name}-parts"))
    parts = Parts(collector, standing or Positions())
    stage.split(item, out, parts)
    for position in range(parts.position):
        folder = collector.folders[position]
        for path in sorted(folder.rglob("*")):
            target = out / path.relative_to(folder)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            elif path.suffix == ".jsonl" and target.exists():
                target.write_bytes(target.read_bytes() + path.read_bytes())
            elif not target.exists():
                shutil.copyfile(path, target)
    shutil.rmtree(collector.folder, ignore_errors=True)
    assert collector.expected in (None, parts.position), "where it says so, it knows it"
    return parts.position
