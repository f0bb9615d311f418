"""What a video cost: requests, frames and bytes, as its outputs tell."""

import json
from collections.abc import Callable
from pathlib import Path

from engine import Item
from engine.config.load import load_config
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
    (folder / "frames").mkdir()
    for number in range(7):
        (folder / "frames" / f"{number}.jpg").touch()


def counted(folder: Path) -> None:
    described(folder)
    (folder / "requests.json").write_text(json.dumps({"requests": 2, "frames": 3}) + "\n")


def test_costs_are_counted_from_the_outputs(make_item: Callable[..., Item]) -> None:
    source = "https://example.org/a.mp4"
    item = make_item(source, download=fetched(source), extract=sampled, describe=described)
    counts = {"bytes fetched": 5000, "frames sampled": 7, "frames kept": 3}
    assert costs(item) == counts
    assert costs(item, "stages.describe.backend=openai") == counts | {"requests": 1}


def test_a_dry_run_has_counted_the_requests(make_item: Callable[..., Item]) -> None:
    item = make_item("https://example.org/b.mp4", describe=counted)
    assert costs(item) == {"frames kept": 3, "requests": 2}


def test_a_local_video_is_not_fetched(make_item: Callable[..., Item], tmp_path: Path) -> None:
    source = str(tmp_path / "c.mp4")
    assert costs(make_item(source, download=fetched(source))) == {}
    assert costs(make_item("https://example.org/nothing-is-left.mp4")) == {}
