"""The download stage: from an address or a file to one playable video file and its description."""

import errno
import json
import logging
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from engine import (
    Drop,
    Item,
    Permanent,
    Produced,
    Stage,
    Throttled,
    Transient,
    checkpoint,
    deadline,
    shown,
)
from stages.fetch.cut_off import is_cut_off
from stages.fetch.info_file import seconds_of, write_info
from stages.fetch.lookup import look_up
from stages.fetch.playlists import PLAYLIST_TYPES, expand
from stages.fetch.probe import Media, probe
from stages.fetch.settings import DownloadSettings
from stages.fetch.subtitles import (
    SUBTITLE_OPTIONS,
    WantedSubtitles,
    copy_beside,
    fetch_subtitles,
)
from stages.fetch.ytdlp_options import check_duration, check_filesize, open_youtube_dl, warn_if_old
from stages.files.folders import symlink_or_copy
from stages.net.addresses import host_of, is_private, local_path, machine_of
from stages.net.errors import classify, not_found_out
from stages.net.faults import ALONE, SYSTEMIC_HINT

logger = logging.getLogger("penstock.download")

LOUD_AFTER = 5
"""Failures in a row that suggest a fault of yt-dlp, after which a worker logs a warning."""

FOUND = "found.json"

FOUND_LASTS = 3600.0
"""Seconds for which a look-up is reused: addresses of media expire."""

CUTS = "cuts"
"""A file with one byte for each time that the video arrived cut off."""

MOST_CUTS = 2
"""The most times that a cut-off video is fetched again. A file that always
ends early is then accepted."""

LEAST_OF_LISTED = 0.9
"""The least share of a stream's listed length that its file must have, if
its timestamps are continuous."""

MOST_SHOWN = 200
"""The most characters of a path in a reason: a line of a list may hold anything."""


class Download(Stage):
    """Fetch one video with yt-dlp, or link a local file; a playlist becomes its videos.

    Writes `video.<ext>` and `info.json`, or `playlist.json` for a playlist; beside them subtitles,
    where yt-dlp's options ask for them.
    """

    # In a process of its own: one regular expression of yt-dlp may hold Python's lock for hours on
    # a hostile page, or on a merely odd one.
    defaults: ClassVar[dict[str, Any]] = {"workers": 4, "placement": "process"}
    item_failures = ALONE

    class Settings(DownloadSettings):
        """Defined in a file of its own, for code that needs the settings without the stage."""

    settings: "Download.Settings"

    def open(self) -> None:
        warn_if_old()
        self._systemic = 0
        self._wanted = WantedSubtitles.of(self.settings.options)
        self._downloader = self._open_downloader()

    def close(self) -> None:
        self._downloader.close()

    def gate(self, item: Item) -> str | None:
        """The host, without "www."; None for a local file."""
        return host_of(item.source)

    def process(self, item: Item, out: Path) -> Produced:
        path = local_path(item.source)
        if path is not None:
            self._link(item, path, out)
            return None
        try:
            produced = self._attempt(item, out)
        except (Throttled, Transient) as refusal:
            if refusal.kind == "media_403":
                # Addresses of media expire: look it up once more before blaming the host.
                self._forget(item)
            elif refusal.kind == "unresumable":
                # A kill may come when all is here but not yet named as whole. yt-dlp then asks for
                # what comes after the end, twice with the same header, and gives up.
                shutil.rmtree(item.partial(self.name))
            else:
                raise
            logger.info("%s", refusal)
            produced = self._attempt(item, out)
        self._systemic = 0
        return produced

    def _open_downloader(self) -> Any:
        def refused(address: str) -> bool:
            return not self.settings.allow_private and is_private(address)

        return open_youtube_dl(self.settings, self.workdir, refused)

    def _attempt(self, item: Item, out: Path) -> Produced:
        self._downloader.watch.begin(shown(item.source))
        try:
            return self._fetch(item, out)
        except Exception as error:
            checkpoint()  # a cancelled attempt may surface as any error
            ending = classify(error, shown(item.source))
            full = isinstance(ending, OSError) and ending.errno == errno.ENOSPC
            if full or getattr(ending, "kind", None) == "no_room":
                # Delete the files that filled the disk, or the next attempt would find it full.
                shutil.rmtree(item.partial(self.name), ignore_errors=True)
            if not (isinstance(ending, Throttled) or self._may_resume(item, ending)):
                self._forget(item)
            self._watch(getattr(ending, "kind", None))
            if ending is error:
                raise
            raise ending from error
        finally:
            self._downloader.close_connections()

    def _watch(self, kind: str | None) -> None:
        self._systemic = self._systemic + 1 if kind == "systemic" else 0
        if self._systemic == LOUD_AFTER:
            logger.error(
                "%d videos in a row failed in a way that points at yt-dlp itself: %s",
                LOUD_AFTER,
                SYSTEMIC_HINT,
            )

    def _fetch(self, item: Item, out: Path) -> Produced:
        within = self.settings.lookup_timeout
        with deadline(within, not_found_out(item.source, within)) as limit:
            found = self._recall(item) or look_up(self._downloader, item.source)
            if found.get("_type") in PLAYLIST_TYPES:
                self._check_depth(item)
                # The list is read while this worker goes on to other items, so it takes the
                # downloader along, and the worker gets another.
                downloader, self._downloader = self._downloader, self._open_downloader()
                return expand(downloader, found, item, out, within)
            self._remember(item, found)
            self._downloader.params["paths"] = {"home": str(item.partial(self.name))}
            self._downloader.on_media = limit.lift
            info = self._download(found)
        fetched = self._fetched_file(item, info)
        cut_off = self._check_end(item, fetched)
        media = self._check(item, fetched, info)
        subtitles = None
        if self._wanted is not None:
            subtitles = fetch_subtitles(self._downloader, info or found, self._wanted, out)
        file = _video_name(fetched)
        fetched.replace(out / file)
        facts = {"cut_off": cut_off, "fetched_subtitles": subtitles}
        write_info(out, item, file, media, info | facts)
        return None

    def _download(self, found: dict[str, Any]) -> dict[str, Any]:
        """What yt-dlp says of the video that it has fetched. Subtitles were looked up if they are
        wanted; it would fail the video where it fails to fetch them."""
        params = self._downloader.params
        asked = {name: params.get(name) for name in SUBTITLE_OPTIONS}
        params.update(dict.fromkeys(SUBTITLE_OPTIONS, False))
        try:
            return self._downloader.process_ie_result(found, download=True) or {}
        finally:
            params.update(asked)

    def _check_end(self, item: Item, fetched: Path) -> bool:
        """Whether the file is cut off, where its server gave no length: a lost connection then
        looks like the end of the file. Raises Transient the first times, since the next attempt may
        get the whole file."""
        answers = self._downloader.answers
        if not answers or answers[-1].is_measured or not is_cut_off(fetched):
            return False
        counted = item.partial(self.name) / CUTS
        cuts = counted.stat().st_size if counted.is_file() else 0
        if cuts == MOST_CUTS:
            return True
        fetched.unlink()
        counted.write_bytes(bytes(cuts + 1))
        raise Transient(
            f"{shown(item.source)}: the connection ended before the file did: it breaks off, and "
            "its server does not say how long it is"
        )

    def _check_depth(self, item: Item) -> None:
        if item.depth >= self.settings.max_depth:
            raise Permanent(
                f"{shown(item.source)}: is a list, {item.depth} lists deep, and "
                f"stages.download.max_depth is {self.settings.max_depth}: it is not read",
                kind="too_deep",
            )

    # The look-up outlives an attempt that is told to slow down, so that the next one asks only for
    # the media: a host that turns away every second request would never serve both. It outlives a
    # broken transfer, too, if it found the file at the item's own address, which does not expire:
    # the next attempt then asks for the rest alone.

    def _may_resume(self, item: Item, ending: BaseException) -> bool:
        if not isinstance(ending, Transient):
            return False
        found = self._recall(item) or {}
        formats = found.get("formats") or [found]
        return bool(found.get("direct")) and [one.get("url") for one in formats] == [item.source]

    def _remember(self, item: Item, found: dict[str, Any]) -> None:
        text = json.dumps(self._downloader.sanitize_info(found))
        path = item.partial(self.name) / FOUND
        path.touch(0o600)  # addresses of media are signed: keep them private
        path.write_text(text, encoding="utf-8")

    def _recall(self, item: Item) -> dict[str, Any] | None:
        path = item.partial(self.name) / FOUND
        try:
            fresh = time.time() - path.stat().st_mtime < FOUND_LASTS
            found: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if fresh else None
        except (FileNotFoundError, ValueError):  # ValueError: a killed run left half a file
            return None
        return found

    def _forget(self, item: Item) -> None:
        (item.partial(self.name) / FOUND).unlink(missing_ok=True)

    def _fetched_file(self, item: Item, info: dict[str, Any]) -> Path:
        """The file that yt-dlp reports. yt-dlp may also return without an
        error and without a file."""
        for download in info.get("requested_downloads") or ():
            if download.get("filepath") and Path(download["filepath"]).is_file():
                return Path(download["filepath"])
        if self.settings.max_filesize is not None:
            raise Drop(
                f"{item.source}: is larger than stages.download.max_filesize, "
                f"{self.settings.max_filesize} bytes",
                kind="too_large",
            )
        raise Permanent(
            f"{item.source}: yt-dlp ended without a file; see whether stages.download.options "
            "keeps it from one",
            kind="no_file",
        )

    def _link(self, item: Item, path: Path, out: Path) -> None:
        name = str(path)[:MOST_SHOWN]
        if not self.settings.local_files:
            raise Permanent(
                f"{name}: is a file of this machine, and --no-local is given", kind="local_file"
            )
        if machine_of(item.source):
            name = item.source[:MOST_SHOWN]
            raise Permanent(
                f"{name}: names a file on another machine; give a path on this one",
                kind="unreadable",
            )
        try:
            path.open("rb").close() if path.is_file() else path.stat()
        except OSError as error:
            hint = "" if path.is_absolute() else "; addresses start with http:// or https://"
            raise Permanent(
                f"{name}: cannot be read: {error.strerror}{hint}", kind="unreadable"
            ) from error
        except ValueError as error:
            raise Permanent(f"{name}: is no file's name ({error})", kind="unreadable") from error
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no ordinary file"
            raise Permanent(f"{name}: is {what}; name a video file", kind="unreadable")
        media = self._check(item, path, {})
        file = _video_name(path)
        symlink_or_copy(Path(os.path.abspath(path)), out / file)  # noqa: PTH100 - keeps its links
        subtitles = None if self._wanted is None else copy_beside(path, self._wanted, out)
        facts = {"title": path.stem, "extractor": "local", "fetched_subtitles": subtitles}
        write_info(out, item, file, media, facts)

    def _check(self, item: Item, file: Path, info: dict[str, Any]) -> Media:
        name = shown(item.source)
        media = _with_listed_duration(probe(file, name), info)
        check_duration(self.settings, name, media.duration)
        if local_path(item.source) is None:
            check_filesize(self.settings, name, file.stat().st_size)
        return media


def _video_name(file: Path) -> str:
    extension = file.suffix.lower()
    return f"video{extension}" if re.fullmatch(r"\.\w{1,20}", extension) else "video.unknown"


def _with_listed_duration(media: Media, info: dict[str, Any]) -> Media:
    """The media with the length from the stream's list of pieces, if that is longer: joined pieces
    that each begin at zero look as long as one piece."""
    in_pieces = str(info.get("protocol")).startswith("m3u8")
    listed = (seconds_of(info.get("duration")) or 0.0) if in_pieces else 0.0
    if media.duration is None or media.duration >= LEAST_OF_LISTED * listed:
        return media
    return replace(media, duration=listed)
