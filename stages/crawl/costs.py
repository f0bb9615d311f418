"""The costs of a video that the engine does not know of: paid requests, frames, bytes fetched."""

import json
from collections.abc import Mapping
from typing import Any, cast

from engine import Item
from stages.crawl.describe import Describe
from stages.files.json_lines import read_lines
from stages.net.addresses import local_path


def crawl_costs(item: Item, settings: Mapping[str, Any]) -> Mapping[str, float]:
    """{"requests", "frames sampled", "frames kept", "bytes fetched"} of one item of a crawl, as far
    as its outputs are there.

    Requests are frames about which the vision model was asked, or would have been in a dry run; a
    frame that was asked about again after an error counts once.
    """
    costs: dict[str, float] = {}
    if item.has_output("download"):
        folder = item.output("download")
        info = folder / "info.json"
        if info.is_file():
            known = json.loads(info.read_text(encoding="utf-8"))
            if local_path(known["source"]) is None:
                costs["bytes fetched"] = (folder / known["file"]).stat().st_size
    if item.has_output("extract"):
        frames = item.output("extract") / "frames"
        costs["frames sampled"] = sum(1 for _ in frames.iterdir()) if frames.is_dir() else 0
    if item.has_output("describe"):
        describe = cast(Describe.Settings, settings["describe"])
        folder = item.output("describe")
        lines = read_lines(folder / "descriptions.jsonl")
        costs["frames kept"] = len(lines)
        counted = folder / "requests.json"
        if counted.is_file():
            [counts] = read_lines(counted)
            costs["requests"] = counts["requests"]
        elif describe.backend != "detections":
            costs["requests"] = sum(line["reused_from"] is None for line in lines)
    return costs
