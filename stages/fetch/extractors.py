"""Which of yt-dlp's extractors takes an address, and what becomes of a page that embeds another."""

import threading
from typing import Any

_matching = threading.Lock()
"""yt-dlp compiles the patterns of its 1,800 extractors, in half a second, as it first looks through
them. Threads that look at the same time would each do that."""


def extractor_for(downloader: Any, url: str) -> str | None:
    """The key of the first extractor that takes this address: yt-dlp's own choice."""
    with _matching:
        return next((key for key, one in downloader._ies.items() if one.suitable(url)), None)


def shown_by(page: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """What a page embeds, described by the page where it does: yt-dlp's "url_transparent"."""
    own = {"_type", "url", "ie_key", "id", "extractor", "extractor_key"}
    described = {key: value for key, value in page.items() if value is not None and key not in own}
    merged = target | described
    if merged.get("_type") == "url":
        merged["_type"] = "url_transparent"
    return merged
