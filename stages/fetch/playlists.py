"""Playlists, channels, feeds and pages with several videos: the items they hold."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

from engine import Item, UsageError, checkpoint, deadline, id_with_options, shown
from stages.fetch.info_file import write_playlist
from stages.net.addresses import canonical_url
from stages.net.errors import classify, not_found_out

logger = logging.getLogger("penstock.download")

T = TypeVar("T")

MOST_ITEMS = 1_000_000
"""The most items of one list. A server may give page after page without end."""

PLAYLIST_TYPES = ("playlist", "multi_video", "compat_list")


def expand(
    downloader: Any, playlist: dict[str, Any], item: Item, out: Path, within: float
) -> Iterator[Item]:
    """The videos of `playlist` as items, each as soon as its page of the list is read; each page
    may take `within` seconds.

    Takes over `downloader` and closes it. Writes `playlist.json` into `out` at the end, with the
    number of items given. Raises yt-dlp's errors as `classify` translates them.
    """
    count = 0
    try:
        for source in _sources(downloader, playlist, item.source, within):
            if count == MOST_ITEMS:
                logger.warning(
                    "%s: the rest of it is left: it has more than %d entries",
                    shown(item.source),
                    MOST_ITEMS,
                )
                break
            yield item.child(source, id_with_options(source, item.options), item.options)
            count += 1
    except Exception as error:
        checkpoint()
        raise classify(error, shown(item.source)) from error
    finally:
        downloader.close()
    write_playlist(out, playlist, count)


def _each_in_time(entries: Iterable[T], page: str, within: float) -> Iterator[T]:
    reading = iter(entries)
    while True:
        with deadline(within, not_found_out(page, within)):
            box = [*islice(reading, 1)]
        if not box:
            return
        yield box[0]


def _sources(downloader: Any, playlist: dict[str, Any], page: str, within: float) -> Iterator[str]:
    from yt_dlp.utils import PlaylistEntries

    entries = PlaylistEntries(downloader, playlist).get_requested_items()
    for _, entry in _each_in_time(entries, page, within):
        checkpoint()
        if not entry:
            continue
        if entry.get("_type") in PLAYLIST_TYPES:
            yield from _sources(downloader, entry, page, within)
            continue
        url = _address(downloader, entry, page)
        if url and url.startswith("/"):
            url = urljoin(page, url)
        source = _remote_source(url)
        if source is None or source == page:
            logger.info(
                "%s: an entry without an address of its own was skipped: %s",
                shown(page),
                shown(url or ""),
            )
        else:
            yield source


def _address(downloader: Any, entry: dict[str, Any], page: str) -> str | None:
    """The address of an entry: its own page, or else the media that yt-dlp would choose."""
    url: str | None = entry.get("url")
    if entry.get("_type", "video") != "video":
        if entry.get("ie_key") == "Youtube" and url and "/" not in url:
            url = f"https://www.youtube.com/watch?v={url}"
        return url
    own_page: str | None = entry.get("webpage_url")
    if own_page and _remote_source(own_page) != page:
        return own_page
    if entry.get("formats"):
        downloader.sort_formats(entry)
        pictured = [one for one in entry["formats"] if one.get("vcodec") != "none"]
        best = (pictured or entry["formats"])[-1]
        url = best.get("manifest_url") or best.get("url")
    return url


def _remote_source(url: str | None) -> str | None:
    """The canonical form of an http(s) address; None for anything else: a remote list must never
    name a file of this machine."""
    try:
        return canonical_url(url or "")
    except UsageError:
        return None
