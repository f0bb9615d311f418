"""What a video cost: requests, frames and bytes, as its outputs tell."""

import json
from collections.abc import Callable
from pathlib import Path

from engine import Item
from engine.config.load import load_config
from engine.ledger.outputs.folders import commit_output, open_scratch
from stages.crawl.costs import crawl_costs
from stages.crawl.pipeline import crawl


def costs(item: Item, *overrides: str) -> dict[str, float]:
    config = load_config(crawl, None, {}, overrides, {})
    return dict(crawl_costs(item, {name: s.settings for name, s in config.stages.items()}))


def fetched(source: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "video.mp4").write_bytes(bytes(5000))
        (folder / "info.json").write_text(json.dumps({"source": source, "file": "video.mp4"}))

    return write


def described(folder: Path) -> None:
    lines = [{"file": f"{n}.jpg", "reused_from": "x/0.jpg" if n else None} for n in range(3)]
    (folder / "descriptions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))


def sampled(folder: Path) -> None:
    (folder / "extract.json").write_text(json.dumps({"frames": 7}))


def with_parts(item: Item, many: int, write: Callable[[Path], None]) -> Item:
    """The item, with the description of so many parts."""
    for position in range(many):
        part = item.part("extract", position)
        scratch = open_scratch(part, "describe")
        write(scratch)
        commit_output(part, "describe", scratch, fingerprint="test")
    return item


def counted(folder: Path) -> None:
    described(folder)
    (folder / "requests.json").write_text(json.dumps({"requests": 2, "frames": 3}) + "\n")


def test_costs_are_counted_from_the_outputs(make_item: Callable[..., Item]) -> None:
    source = "https://example.org/a.mp4"
    item = make_item(source, download=fetched(source), extract=sampled)
    counts = {"bytes fetched": 5000, "frames sampled": 7, "frames kept": 6}
    assert costs(with_parts(item, 2, described)) == counts
    assert costs(item, "stages.describe.backend=openai") == counts | {"requests": 2}


def test_a_dry_run_has_counted_the_requests(make_item: Callable[..., Item]) -> None:
    item = with_parts(make_item("https://example.org/b.mp4"), 2, counted)
    assert costs(item) == {"frames kept": 6, "requests": 4}


def test_a_local_video_is_not_fetched(make_item: Callable[..., Item], tmp_path: Path) -> None:
    source = str(tmp_path / "c.mp4")
    assert costs(make_item(source, download=fetched(source))) == {}
    assert costs(make_item("https://example.org/nothing-is-left.mp4")) == {}
