"""yt-dlp's options for the settings of a download stage, and the YoutubeDL made with them."""

import functools
import logging
import math
import re
from collections.abc import Callable
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from engine import ConfigError, Drop, checkpoint, shown_in
from stages.fetch.cookies_file import read_cookies
from stages.fetch.guard.impersonation import target
from stages.fetch.guard.responses import Watch
from stages.fetch.guard.ytdlp_guard import guarded_youtube_dl
from stages.fetch.javascript import RUNTIMES
from stages.fetch.settings import DownloadSettings
from stages.net.addresses import Refused

logger = logging.getLogger("penstock.download")

KEPT_BY_THE_STAGE = {
    "cookiefile": "cookies",
    "cookiesfrombrowser": "cookies_from_browser",
    "extract_flat": None,
    "fixup": None,
    "ignoreerrors": None,
    "impersonate": "impersonate",
    "lazy_playlist": None,
    "listformats": None,
    "logger": None,
    "max_filesize": "max_filesize",
    "outtmpl": None,
    "paths": None,
    "postprocessors": None,
    "progress_hooks": None,
    "proxy": "proxy",
    "ratelimit": "rate_limit",
    "simulate": None,
    "skip_download": None,
    "socket_timeout": "socket_timeout",
}
"""The options that `options` may not hold, each with the setting in its place, if there is one: the
stage relies on its own values of them."""

_UNLISTED = {"color", "http_headers", "js_runtimes", "remote_components"}
_OLD_AFTER_DAYS = 90


def build_options(settings: DownloadSettings, workdir: Path) -> dict[str, Any]:
    """The options of one YoutubeDL. Raises ConfigError for options that yt-dlp does not have."""
    _check_names(settings.options)
    options: dict[str, Any] = {
        "format": "bv/b",  # one stream as it is: without a merge no ffmpeg is needed
        "format_sort": format_sort(settings.size),
        # The engine repeats attempts; these retries are for a hiccup in the middle of a file.
        "retries": 2,
        "fragment_retries": 2,
        "extractor_retries": 1,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _pause),
        "skip_unavailable_fragments": False,  # a video with holes is not a finished download
        "socket_timeout": settings.socket_timeout,
        "ratelimit": settings.rate_limit,
        "max_filesize": settings.max_filesize,
        "playlistend": settings.max_items,
        "outtmpl": {"default": "video.%(format_id)s.%(ext)s"},
        "restrictfilenames": True,
        "trim_file_name": 100,
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "lazy_playlist": True,
        "continuedl": True,
        "overwrites": False,
        "updatetime": False,
        "fixup": "never",
        "postprocessors": [],
        "js_runtimes": {name: {} for name in RUNTIMES},
        "cachedir": str(workdir / "cache" / "yt-dlp"),
        # Other programs would connect anywhere, private addresses included.
        "external_downloader": {"default": "native", "m3u8": "native"},
        "ffmpeg_location": str(workdir / "cache" / "yt-dlp" / "without-ffmpeg"),
        "quiet": True,
        "noprogress": True,
        "color": "no_color",
        "logger": _Log(),
        "match_filter": functools.partial(_refuse_early, settings),
    }
    if settings.proxy is not None:
        options["proxy"] = settings.proxy
    if settings.impersonate is not None:
        options["impersonate"] = target(settings.impersonate)
    if settings.cookies_from_browser:
        options["cookiesfrombrowser"] = _browser(settings.cookies_from_browser)
    given = dict(settings.options)
    if "match_filter" in given:
        options["match_filter"] = _both(options["match_filter"], given.pop("match_filter"))
    return options | given


def format_sort(size: int | None) -> list[str]:
    """yt-dlp's order of formats for frames whose longer side is `size` pixels; None for no limit.

    yt-dlp's `res` is the smaller side, so the smaller side of a 16:9 picture is requested, in
    either orientation; `+res` takes the smallest format that has it, or else the largest there is.
    Of equal formats H.264, which costs the least to decode, and then the fewest bytes.
    """
    resolution = "res" if size is None else f"+res:{math.ceil(size * 9 / 16)}"
    return [resolution, "vcodec:h264", "+tbr"]


def open_youtube_dl(settings: DownloadSettings, workdir: Path, refused: Refused) -> Any:
    """A YoutubeDL for one thread; close it after use. Raises ConfigError for invalid options, and
    for cookies that cannot be read."""
    options = build_options(settings, workdir)
    watch = Watch(
        max_filesize=settings.max_filesize,
        min_rate=settings.min_rate,
        socket_timeout=settings.socket_timeout,
    )
    options["progress_hooks"] = [watch.progress]
    if settings.cookies is not None:
        options["cookiefile"] = read_cookies(settings.cookies)
    at_fault = "options"
    try:
        downloader = guarded_youtube_dl()(options, refused, watch, plugins=settings.plugins)
        # Otherwise made on first use, in the middle of an item.
        at_fault = "cookies_from_browser" if settings.cookies is None else "cookies"
        _ = downloader.cookiejar
        at_fault = "options"
        _ = downloader._request_director
    except Exception as error:  # yt-dlp raises any exception for a wrong option
        said = str(error).removeprefix("ERROR: ").partition("\n")[0]
        if at_fault == "cookies":  # a message about the file may quote its content
            said = f"{settings.cookies} ({type(error).__name__})"
        raise ConfigError(
            f"stages.download.{at_fault}: yt-dlp does not take this: {said}"
        ) from error
    return downloader


@functools.cache
def warn_if_old() -> None:
    """Warn once per process that this yt-dlp is older than the sites' present state."""
    from yt_dlp.version import __version__ as version

    released = date(*(int(part) for part in version.split(".")[:3]))
    age = (date.today() - released).days
    if age > _OLD_AFTER_DAYS:
        logger.warning("yt-dlp %s is %d days old; update it: pip install -U yt-dlp", version, age)


def _check_names(given: dict[str, Any]) -> None:
    from yt_dlp import parse_options

    known = {name for name in parse_options([]).ydl_opts if not name.startswith("_")} | _UNLISTED
    for name in given:
        if name in KEPT_BY_THE_STAGE:
            setting = KEPT_BY_THE_STAGE[name]
            instead = (
                f"set stages.download.{setting} instead" if setting else "it cannot be changed"
            )
            raise ConfigError(f"stages.download.options: {name} is the stage's own; {instead}")
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"stages.download.options: yt-dlp has no option {name!r}{hint}")


def _pause(n: int) -> float:
    checkpoint()
    return float(min(2**n / 2, 5.0))


def _refuse_early(
    settings: DownloadSettings, info: dict[str, Any], *, incomplete: bool = False
) -> None:
    """Drop unwanted videos as soon as yt-dlp knows enough about them, before the download."""
    source = info.get("webpage_url") or info.get("url")
    match info.get("live_status"):
        case "is_live" | "post_live":
            raise Drop(f"{source}: is live; crawl it again once it is over", kind="deferred")
        case "is_upcoming":
            raise Drop(f"{source}: has not started yet; crawl it again later", kind="deferred")
    check_duration(settings, str(source), info.get("duration"))
    check_filesize(settings, str(source), info.get("filesize"))


def check_duration(settings: DownloadSettings, source: str, seconds: float | None) -> None:
    """Drop a video that is longer than `max_duration`."""
    if settings.max_duration is not None and seconds and seconds > settings.max_duration:
        raise Drop(
            f"{source}: lasts {seconds:.0f} s, and stages.download.max_duration is "
            f"{settings.max_duration:.0f} s",
            kind="too_long",
        )


def check_filesize(settings: DownloadSettings, source: str, size: int | None) -> None:
    """Drop a file that is larger than `max_filesize`."""
    if settings.max_filesize is not None and size and size > settings.max_filesize:
        raise Drop(
            f"{source}: has {size} bytes, and stages.download.max_filesize is "
            f"{settings.max_filesize}",
            kind="too_large",
        )


def _both(ours: Callable[..., None], theirs: str | list[str]) -> Callable[..., None]:
    """Our filter, followed by yt-dlp's own for an expression such as "like_count > 100"."""
    from yt_dlp.utils import match_filter_func

    chosen = match_filter_func(theirs)

    def keep(info: dict[str, Any], *, incomplete: bool = False) -> None:
        ours(info, incomplete=incomplete)
        said = chosen(info, incomplete=incomplete)
        if isinstance(said, str):
            raise Drop(f"{info.get('webpage_url')}: {said}", kind="filtered")

    return keep


def _browser(text: str) -> tuple[str | None, ...]:
    """BROWSER[+KEYRING][:PROFILE][::CONTAINER] as the tuple that yt-dlp's API takes."""
    from yt_dlp.cookies import SUPPORTED_BROWSERS

    found = re.fullmatch(
        r"(?P<name>[^+:]+)(\+(?P<keyring>[^:]+))?(:(?!:)(?P<profile>.+?))?(::(?P<container>.+))?",
        text.strip(),
    )
    name = found["name"].lower() if found else ""
    if found is None or name not in SUPPORTED_BROWSERS:
        known = ", ".join(sorted(SUPPORTED_BROWSERS))
        raise ConfigError(
            f"stages.download.cookies_from_browser: {text!r} is not BROWSER or BROWSER:PROFILE "
            f"with one of {known}"
        )
    keyring = found["keyring"].upper() if found["keyring"] else None
    return name, found["profile"], keyring, found["container"]


class _Log:
    """yt-dlp's messages, passed to Python's logging. Its errors are raised as well; its warnings
    speak of its own flags and come with almost every page: neither deserves a line on the screen.
    """

    def debug(self, message: str) -> None:
        logger.debug("%s", shown_in(message))

    def warning(self, message: str) -> None:
        logger.info("%s", shown_in(message))

    def error(self, message: str) -> None:
        logger.info("%s", shown_in(message))
