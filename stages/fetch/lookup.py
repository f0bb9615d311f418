"""Looks up an address with yt-dlp, without fetching media."""

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from engine import Permanent, UsageError, shown
from stages.fetch.extractors import extractor_for, shown_by
from stages.net.addresses import canonical_url, has_possible_host
from stages.net.errors import ending
from stages.net.faults import ARCHIVED

MOST_HOPS = 10
"""The most references from page to page before an item counts as circular."""

MEDIA = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".f4v", ".wmv", ".asf", ".mpg"),
        *(".mpeg", ".ts", ".mts", ".m2ts", ".3gp", ".ogv", ".vob", ".rm", ".m3u8", ".mpd"),
    )
)
"""Endings of the path in the address of a video file or a stream."""

PAGES = ("text/html", "application/xhtml+xml")


def look_up(downloader: Any, url: str) -> dict[str, Any]:
    """yt-dlp's result for `url`, with references from page to page followed; no media are fetched.

    Raises Permanent, kind "not_video", where the address of a file led to a web page instead, such
    as a log-in: a video on that page is another one.
    """
    try:
        canonical_url(url)
    except UsageError as error:
        raise Permanent(str(error), kind="unsupported") from None
    if not has_possible_host(url):
        raise Permanent(
            f"{shown(url)}: is not an address: {urlsplit(url).hostname!r} is no host name",
            kind="unsupported",
        )
    found: dict[str, Any] = {"_type": "url", "url": url}
    page: str | None = None
    for _ in range(MOST_HOPS):
        if found.get("_type") not in ("url", "url_transparent"):
            if page is not None and _name(url) not in _names(found):
                raise _another(url, page)
            return found
        key = found.get("ie_key") or extractor_for(downloader, found["url"])
        downloader.answers.clear()
        try:
            target = downloader.extract_info(
                found["url"], ie_key=key, download=False, process=False
            )
        except Exception as error:
            page = page or _page_instead(downloader, url, key)
            if page is not None and "UnsupportedError" in repr(getattr(error, "exc_info", None)):
                raise _another(url, page) from error
            raise
        downloader.unread.keep()
        page = page or _page_instead(downloader, url, key)
        if target is None:
            raise ending(ARCHIVED, shown(url), "")
        if found["_type"] == "url_transparent":
            target = shown_by(found, target)
        found = target
    raise Permanent(f"{url}: leads from page to page without end", kind="unsupported")


def _page_instead(downloader: Any, url: str, key: str | None) -> str | None:
    """The web page elsewhere that was read instead of the file at `url`, if any.

    A page of a site that yt-dlp supports is that of one video. A page under the address of the file
    itself may well be about that file.
    """
    if key != "Generic" or _suffix(url) not in MEDIA or not downloader.answers:
        return None
    answer = downloader.answers[0]
    elsewhere = urlsplit(answer.url)[1:3] != urlsplit(shown(url))[1:3]
    is_page = answer.content_type in PAGES and _suffix(answer.url) not in MEDIA
    if not (elsewhere and is_page):
        return None
    is_known = extractor_for(downloader, answer.url) != "Generic"
    return None if is_known else answer.url


def _another(url: str, page: str) -> Permanent:
    return Permanent(
        f"{shown(url)}: leads to a web page, {shown(page)}, and not to a video; if that is a "
        "log-in, set stages.download.cookies to those of an account that may see it",
        kind="not_video",
    )


def _names(found: dict[str, Any]) -> set[str]:
    """The names of the files in the result."""
    media = [found, *(found.get("formats") or ())]
    return {_name(str(one["url"])) for one in media if one.get("url")}


def _name(url: str) -> str:
    return PurePosixPath(unquote(re.split("[?#]", url, maxsplit=1)[0])).name


def _suffix(url: str) -> str:
    return PurePosixPath(_name(url)).suffix.lower()
