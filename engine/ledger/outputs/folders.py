"""An item's folders on disk: scratch, outputs committed atomically, what is kept between attempts.

WORKDIR/items/<id>/<step>/            a finished output, renamed into place
WORKDIR/items/<id>/.<step>.scratch-*  one attempt at it, removed when the attempt ends
WORKDIR/items/<id>/.<step>.partial    what the stage keeps between attempts (half a download)
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from engine.contract.item import PARTS, Item, hidden_name
from engine.ledger.outputs.mark import OutputMark, read_mark, write_mark
from engine.ledger.outputs.syncing import sync, sync_tree

OUTLIVED = "scratch-outlived"


def open_scratch(item: Item, stage: str, number: int = 1) -> Path:
    """A fresh, empty folder for one attempt, beside the place of its output.

    Attempts of a run at one item differ in `number`: an attempt that was given up may still write
    into its folder.
    """
    name = hidden_name(stage, f"scratch-{number}")
    while True:
        scratch = item.folder / name
        try:
            scratch.mkdir()
        except FileNotFoundError:
            item.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            name += "+"  # a killed run left one that could not be deleted
        else:
            return scratch


def commit_output(
    item: Item,
    stage: str,
    scratch: Path,
    fingerprint: str,
    expanded: int | None = None,
    parts: int | None = None,
    *,
    synced: bool = True,
) -> None:
    """Make `scratch` the output of `stage`: sync it, rename it into place, sync the name.

    A crash before the rename leaves no output, a crash after it a whole one. `expanded` is the
    number of items that the item produced, `parts` of parts that it was split into; None for an
    ordinary output. Without `synced` this holds
    for a crash of the process, but not for one of the machine.
    """
    write_mark(scratch, fingerprint, expanded, parts)
    if synced:
        sync_tree(scratch)
    _replace(scratch, item.folder / stage)
    if synced:
        sync(str(item.folder))
    discard_partial(item, stage)


def _replace(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`, replacing a target that exists."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        _remove(target)
        folder.rename(target)


def remove_scratch(scratch: Path) -> None:
    """Delete the scratch folder of an attempt that made no output."""
    shutil.rmtree(scratch, ignore_errors=True)


def output_mark(item: Item, stage: str) -> OutputMark | None:
    """The mark of the output of `stage`, or None where there is no output."""
    return read_mark(item.folder / stage)


def is_whole(item: Item, stage: str) -> bool:
    """Whether the output of `stage` is there and matches its mark."""
    mark = output_mark(item, stage)
    return mark is not None and mark.holds(item.folder / stage)


def discard_output(item: Item, stage: str) -> None:
    """Delete the output of `stage`; a crash part way leaves nothing that looks whole."""
    _remove(item.folder / stage)


def discard_in_parts(item: Item, split: str, stage: str) -> None:
    """Delete the output of `stage` of each part of the item that the step `split` made; of a stage
    that splits those, what it made its parts of too."""
    _discard_in_parts(item.folder / f"{split}{PARTS}", stage, item.root.folder)


def _discard_in_parts(parts: Path, stage: str, aside: Path) -> None:
    for name in _names(parts):
        _remove(parts / name / stage, aside)
        _discard_in_parts(parts / name / f"{stage}{PARTS}", stage, aside)


def outputs_in_parts(item: Item, split: str, stage: str) -> Iterator[Path]:
    """The output folders of `stage` of the parts of the item that the step `split` made, in
    order."""
    for position in sorted(int(name) for name in _names(item.folder / f"{split}{PARTS}")):
        part = item.part(split, position)
        if part.has_output(stage):
            yield part.folder / stage


def discard_part(part: Item) -> None:
    """Delete a part with everything that was made of it."""
    _remove(part.folder, part.root.folder)


def discard_parts(folder: Path, split: str) -> None:
    """Delete all parts that `split` has made of the item or part in `folder`, if any."""
    _remove(folder / f"{split}{PARTS}")


def part_positions(item: Item, split: str, first: int) -> list[int]:
    """The positions, from `first` on, of folders of parts that `split` made of the item: also of
    those that a killed run had not recorded."""
    names = _names(item.folder / f"{split}{PARTS}")
    return [position for position in map(int, filter(str.isdecimal, names)) if position >= first]


def discard_all(item: Item, outputs: Sequence[str], partials: Sequence[str]) -> None:
    """Delete outputs of the item by their stages, and what these `partials` kept between attempts
    that will not come. Blocks."""
    for stage in outputs:
        discard_output(item, stage)
    for stage in partials:
        discard_partial(item, stage)


def discard_partial(item: Item, stage: str) -> None:
    """Delete the folder that `stage` kept between attempts."""
    _remove(item.folder / hidden_name(stage, "partial"))


def mark_outlived(item: Item, stage: str) -> None:
    """Record that the run died while `stage` was at work on the item, and that this worker process
    survived it: so the item did not kill the run. The mark is swept like a scratch folder."""
    with suppress(OSError):
        (item.folder / hidden_name(stage, OUTLIVED)).mkdir()


def unmark_outlived(item: Item, stage: str) -> None:
    """Remove the mark, if it is there."""
    with suppress(OSError):
        (item.folder / hidden_name(stage, OUTLIVED)).rmdir()


def abandoned_stages(item: Item, stages: Sequence[str]) -> list[str]:
    """Those of `stages` that have scratch folders of a dead run here and no such mark."""
    names = set(_names(item.folder))
    begun = {name.partition(".scratch-")[0] for name in names if ".scratch-" in name}
    return [
        stage
        for stage in stages
        if f".{stage}" in begun and hidden_name(stage, OUTLIVED) not in names
    ]


def sweep_scratch(item: Item) -> int:
    """Delete the scratch folders that a killed run left behind; returns their number."""
    left = [name for name in _names(item.folder) if ".scratch-" in name]
    for name in left:
        _delete(item.folder / name)
    return len(left)


def replace_link(item: Item) -> bool:
    """Remove the item's folder if it is a link; returns whether it was one.

    The engine makes no such links, and must not delete the target of one.
    """
    if not item.folder.is_symlink():
        return False
    item.folder.unlink()
    return True


def _names(folder: Path) -> list[str]:
    """The names in `folder`, empty if it is missing or no folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(path: Path, aside: Path | None = None) -> None:
    """Delete `path`. It is first moved `aside`, into the folder of an item, by default its own: if
    this run dies while deleting, the next one sweeps it there. That of a whole item is always
    swept, that of a part while its item has not ended."""
    if not os.path.lexists(path):
        return
    doomed = Path(tempfile.mkdtemp(prefix=".discarded.scratch-", dir=aside or path.parent))
    path.rename(doomed / path.name)
    shutil.rmtree(doomed, ignore_errors=True)


def _delete(path: Path) -> None:
    """Delete a folder, a file or a link, but not the target of a link. Does not raise."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
