"""Finds the extractor of yt-dlp for an address, and merges a page with the page that it embeds."""

import threading
from typing import Any

_matching = threading.Lock()
"""Guards the first search through yt-dlp's extractors, which compiles 1,800 patterns in half a
second. Without it, several threads would each compile them."""


def extractor_for(downloader: Any, url: str) -> str | None:
    """The key of the first extractor that matches this address, as yt-dlp itself chooses."""
    with _matching:
        return next((key for key, one in downloader._ies.items() if one.suitable(url)), None)


def shown_by(page: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """The embedded video, described by the embedding page where that has a description: yt-dlp's
    "url_transparent"."""
    own = {"_type", "url", "ie_key", "id", "extractor", "extractor_key"}
    described = {key: value for key, value in page.items() if value is not None and key not in own}
    merged = target | described
    if merged.get("_type") == "url":
        merged["_type"] = "url_transparent"
    return merged
