"""The stored description of a download: info.json of a video, playlist.json of a list.

A page's description may be of any size: each text is cut to a readable length.
"""

import json
import math
from pathlib import Path
from typing import Any

from engine import Item, shown
from stages.fetch.probe import Media
from stages.files.utf8 import writable_row
from stages.net.addresses import MOST_ADDRESS

MOST_WORDS = 1000
"""The most characters of a title, a name or a licence."""


def write_info(out: Path, item: Item, file: str, media: Media, info: dict[str, Any]) -> None:
    """Write info.json: the facts about the video in `file`, from its header and its page."""
    from yt_dlp.version import __version__ as yt_dlp_version

    duration = media.duration if media.duration is not None else seconds_of(info.get("duration"))
    known = {
        "id": item.id,
        "source": shown(item.source),
        "file": file,
        "title": _cut(info.get("title")),
        "uploader": _cut(info.get("uploader")),
        "duration": None if duration is None else round(duration, 6),
        "upload_date": _cut(info.get("upload_date")),
        "webpage_url": _address(info.get("webpage_url")),
        "license": _cut(info.get("license")),
        "format": _cut(info.get("format")),
        "width": media.width,
        "height": media.height,
        "extractor": _cut(info.get("extractor")),
        "yt_dlp_version": yt_dlp_version,
    }
    if info.get("cut_off"):
        known["cut_off"] = True
    subtitles = info.get("fetched_subtitles")
    if subtitles is not None:
        known["subtitles"] = subtitles.as_dict()
    (out / "info.json").write_text(json.dumps(writable_row(known), indent=2) + "\n")


def write_playlist(out: Path, playlist: dict[str, Any], entries: int) -> None:
    """Write playlist.json: the facts about a list that gave `entries` items."""
    summary = {
        "title": _cut(playlist.get("title")),
        "webpage_url": _address(playlist.get("webpage_url")),
        "extractor": _cut(playlist.get("extractor")),
        "entries": entries,
    }
    (out / "playlist.json").write_text(json.dumps(summary, indent=2) + "\n")


def _cut(text: object) -> str | None:
    if text is None:
        return None
    whole = str(text)
    return whole if len(whole) <= MOST_WORDS else f"{whole[: MOST_WORDS - 1]}…"


def _address(url: object) -> str | None:
    """The address, or None if it is too long: a cut address would be wrong."""
    whole = shown(str(url or ""))
    return whole if whole and len(whole) <= MOST_ADDRESS else None


def seconds_of(value: object) -> float | None:
    """A duration from a page in seconds, None if it is invalid: a page may
    state an infinite one."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None
