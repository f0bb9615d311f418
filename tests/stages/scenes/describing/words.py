"""A server that fills in forms, and the two stages run over one scene, or one video."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from engine import Item, Stage
from stages.scenes.describing.describe import DescribeScenes
from stages.scenes.describing.summary import Summarise
from tests.stages.describing import picture
from tests.stages.vision_server import Request

MakeItem = Callable[..., Item]


def texts_of(request: Request) -> list[tuple[str, str]]:
    """Who says what in a request: ("system" or "user" or "assistant", text), in order."""
    body = request.body
    if "contents" in body:
        told = [("system", part["text"]) for part in body["systemInstruction"]["parts"]]
        roles = {"user": "user", "model": "assistant"}
        return told + [
            (roles[one["role"]], part["text"])
            for one in body["contents"]
            for part in one["parts"]
            if "text" in part
        ]
    told = []
    for message in body["messages"]:
        content = message["content"]
        parts = [{"text": content}] if isinstance(content, str) else content
        told += [(message["role"], part["text"]) for part in parts if "text" in part]
    return told


def data_of(request: Request) -> Any:
    """The data that the request asks about."""
    [block] = re.findall(r"<data>(.*?)</data>", texts_of(request)[1][1], re.DOTALL)
    return json.loads(block)


def asks_about_scene(request: Request) -> bool:
    return isinstance(data_of(request), dict)


def scene_answer(request: Request, **more: Any) -> str:
    """A description that names the pictures that were sent."""
    seen = hashlib.sha256(b"".join(request.images)).hexdigest()[:12]
    told = {
        "description": f"Scene at {data_of(request)['start']:g} s, seen as {seen}.",
        "tags": ["test"],
        "people": [],
        "actions": ["moving"],
        "setting": "a studio",
        "text_seen": [],
    }
    return json.dumps(told | more)


def video_answer(request: Request, each: int = 2) -> str:
    """Chapters of so many entries, titled by their first scene."""
    entries = data_of(request)
    chapters = [
        {"first": one["scene"], "title": f"From {one['scene']}", "summary": one["description"]}
        for one in entries[::each]
    ]
    told = {"title": "A test", "summary": f"{len(entries)} entries.", "tags": ["test"]}
    return json.dumps(told | {"chapters": chapters})


def says(request: Request) -> str:
    return scene_answer(request) if asks_about_scene(request) else video_answer(request)


def recorded(seeds: Sequence[int], **fields: Any) -> Callable[[Path], None]:
    """Writes what fuse writes: a record with these pictures, and these fields."""

    def write(folder: Path) -> None:
        (folder / "frames").mkdir()
        frames = []
        for seed in seeds:
            (folder / "frames" / f"{seed:08}.jpg").write_bytes(picture(seed))
            frames.append({"file": f"frames/{seed:08}.jpg", "timestamp": float(seed)})
        record = {"index": 0, "start": 1.0, "end": 5.0, "frames": frames, "gaps": []} | fields
        (folder / "record.json").write_text(json.dumps(record))

    return write


def described(workdir: Path, items: Sequence[Item], **settings: Any) -> list[dict[str, Any]]:
    """Runs describe_scenes over the items, one after the other; what it writes."""
    stage = DescribeScenes(DescribeScenes.Settings(**settings), workdir=workdir)
    outs = [item.folder / "out" for item in items]
    _run(stage, [item.with_inputs({"record": "fuse"}) for item in items], outs)
    return [json.loads((out / "description.json").read_text()) for out in outs]


def summed_up(workdir: Path, item: Item, **settings: Any) -> dict[str, Any]:
    """Runs the summary over one video; what it writes."""
    stage = Summarise(Summarise.Settings(**settings), workdir=workdir)
    _run(stage, [item.with_inputs({"scenes": "collect"})], [item.folder / "out"])
    told: dict[str, Any] = json.loads((item.folder / "out" / "summary.json").read_text())
    return told


def _run(stage: Stage, items: Sequence[Item], outs: Sequence[Path]) -> None:
    async def run() -> None:
        await stage.open()
        try:
            for item, out in zip(items, outs, strict=True):
                out.mkdir(exist_ok=True)
                await stage.process(item, out)
        finally:
            await stage.close()

    anyio.run(run)
