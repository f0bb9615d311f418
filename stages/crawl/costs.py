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
        summary = json.loads((item.output("extract") / "extract.json").read_text(encoding="utf-8"))
        costs["frames sampled"] = summary["frames"]
    described = [part.output("describe") for part in item.parts_with("describe")]
    if described:
        describe = cast(Describe.Settings, settings["describe"])
        lines = [line for one in described for line in read_lines(one / "descriptions.jsonl")]
        costs["frames kept"] = len(lines)
        counted = [one / "requests.json" for one in described]
        if any(file.is_file() for file in counted):
            counts = [line for file in counted if file.is_file() for line in read_lines(file)]
            costs["requests"] = sum(one["requests"] for one in counts)
        elif describe.backend != "detections":
            costs["requests"] = sum(line["reused_from"] is None for line in lines)
    return costs
