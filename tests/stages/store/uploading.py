"""Files to upload, and the stage that does it, as a run would have it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from engine import Item
from engine.ledger.outputs.folders import commit_output, open_scratch
from stages.store.upload import UPLOAD, Upload


def item_with(workdir: Path, source: str, files: dict[str, bytes]) -> Item:
    """An item that has these files as the output of a step."""
    item = Item.at(workdir, source)
    scratch = open_scratch(item, "made")
    for name, content in files.items():
        (scratch / name).write_bytes(content)
    commit_output(item, "made", scratch, fingerprint="test")
    return item


def upload(workdir: Path, items: Sequence[Item], **settings: Any) -> list[list[dict[str, Any]]]:
    """Put the items' files there, all at once; what the stage writes of each."""
    outs = [item.folder / "out" for item in items]

    async def run() -> None:
        stage = Upload(Upload.Settings(**settings), workdir=workdir)
        await stage.open()
        try:
            async with anyio.create_task_group() as tasks:
                for item, out in zip(items, outs, strict=True):
                    out.mkdir(exist_ok=True)
                    tasks.start_soon(stage.process, item.with_inputs({"files": "made"}), out)
        except* Exception as errors:
            raise errors.exceptions[0] from None  # the first, as the engine would meet it
        finally:
            await stage.close()

    anyio.run(run)
    return [json.loads((out / UPLOAD).read_text())["files"] for out in outs]
