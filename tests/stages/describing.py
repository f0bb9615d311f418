"""What the tests of describing share: frames made of noise, and a stage run over items."""

import io
import json
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import anyio

from engine import Item
from stages.crawl.describe import Describe

Line = dict[str, Any]


@lru_cache(maxsize=1024)
def picture(seed: int, quality: int = 90) -> bytes:
    """A JPEG of 160 x 96 pixels. Different seeds look different to a perceptual hash; different
    qualities of one seed are different bytes that look the same."""
    from PIL import Image

    blocks = Image.frombytes("RGB", (10, 6), random.Random(seed).randbytes(180))
    file = io.BytesIO()
    blocks.resize((160, 96), Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
    return file.getvalue()


def kept(images: Sequence[bytes]) -> Callable[[Path], None]:
    """Writes what the filter writes: these images, a second apart."""

    def write(folder: Path) -> None:
        (folder / "frames").mkdir()
        with (folder / "detections.jsonl").open("w") as lines:
            for second, image in enumerate(images):
                name = f"{second:010.3f}.jpg"
                (folder / "frames" / name).write_bytes(image)
                found = {"class": "cat", "confidence": 0.9, "box": [0, 0, 40, 90]}
                frame = {"file": name, "timestamp": second, "width": 160, "height": 96}
                lines.write(json.dumps(frame | {"detections": [found]}) + "\n")

    return write


def describe(
    workdir: Path, items: Sequence[Item], together: bool = False, **settings: Any
) -> list[list[Line]]:
    """Runs one stage over the items, one after the other or all at once; their lines."""
    outs = [item.folder / "out" for item in items]

    async def run() -> None:
        stage = Describe(Describe.Settings(**settings), workdir=workdir)
        await stage.open()
        try:
            async with anyio.create_task_group() as tasks:
                for one, out in zip(items, outs, strict=True):
                    item = one.with_inputs({"frames": "filter"})
                    out.mkdir(exist_ok=True)
                    if together:
                        tasks.start_soon(stage.process, item, out)
                    else:
                        await stage.process(item, out)
        except* Exception as errors:
            # The first of them, as the engine would meet it.
            raise errors.exceptions[0] from None
        finally:
            await stage.close()

    anyio.run(run)
    return [read(out / "descriptions.jsonl") for out in outs]


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]
