"""What a queue's job may name."""

from pathlib import Path

import pytest

from engine import UsageError
from stages.service.job_data import source_of


def test_an_address_or_a_file_below_a_root(tmp_path: Path) -> None:
    video = tmp_path / "videos" / "a.mp4"
    video.parent.mkdir()
    video.touch()
    assert (
        source_of({"url": "https://example.org/a.mp4", "user": 7}, [])
        == "https://example.org/a.mp4"
    )
    assert source_of({"videoPath": str(video)}, [tmp_path / "videos"]) == str(video)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("a.mp4", "an object"),
        ({}, "either"),
        ({"url": "https://x/", "videoPath": "/a"}, "either"),
        ({"url": 7}, "no text"),
        ({"url": " "}, "no text"),
        ({"url": "file:///etc/passwd"}, "http"),
        ({"url": "--config"}, "http"),
        ({"videoPath": "/etc/passwd"}, "below no folder"),
        ({"videoPath": "ROOT/../secret.mp4"}, "below no folder"),
        ({"videoPath": "ROOT/link.mp4"}, "below no folder"),
        ({"videoPath": "ROOT/gone.mp4"}, "no such file"),
        ({"videoPath": "ROOT/a\0b"}, "no path"),
    ],
)
def test_nothing_else(tmp_path: Path, data: object, told: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.mp4").touch()
    (root / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    if isinstance(data, dict):
        data = {
            name: value.replace("ROOT", str(root)) if isinstance(value, str) else value
            for name, value in data.items()
        }
    with pytest.raises(UsageError, match=told) as refused:
        source_of(data, [root])
    assert "\n" not in str(refused.value)
