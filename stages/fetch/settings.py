"""The settings of the download stage."""

from pathlib import Path
from typing import Any

from engine import Settings, setting


class DownloadSettings(Settings):
    """Settings of the download stage."""

    size: int | None = setting(
        None,
        "Longer side that is needed, in pixels: no larger format is fetched than that takes. "
        "Unset: as much as extract uses.",
        gt=0,
        example=1280,
    )
    max_duration: float | None = setting(
        None,
        "Seconds; longer videos are dropped before they are fetched. Unset: no limit.",
        gt=0,
        example=7200.0,
    )
    max_filesize: int | None = setting(
        None,
        "Bytes; larger files are dropped. Unset: 20 GB.",
        gt=0,
        example=2_000_000_000,
    )
    max_items: int | None = setting(
        None,
        "Videos taken from one playlist, channel or feed, at most. Unset: all.",
        gt=0,
        example=100,
    )
    max_depth: int = setting(
        5,
        "Lists within lists that are read: a list at this depth under one of the crawl's own "
        "fails.",
        affects_output=False, gt=0,
    )  # fmt: skip
    cookies: Path | None = setting(
        None,
        "Cookies file (Netscape format) to fetch with.",
        affects_output=False,
        needs_trust=True,
        example="cookies.txt",
    )
    cookies_from_browser: str | None = setting(
        None,
        'Browser to take cookies from: "firefox", "chrome:PROFILE".',
        affects_output=False,
        needs_trust=True,
        example="firefox",
    )
    proxy: str | None = setting(
        None,
        'Proxy for every connection: "http://host:port", "socks5://host:port"; "" for none. '
        "Unset: the environment's.",
        affects_output=False,
        needs_trust=True,
        example="socks5://127.0.0.1:1080",
    )
    impersonate: str | None = setting(
        None,
        'Browser that every request looks like ("chrome", "safari-18.4", "any"), for sites '
        "that turn others away; needs the extra penstock[impersonate]. Unset: only where "
        "yt-dlp's code for a site asks for one, and the extra is there.",
        affects_output=False,
    )
    rate_limit: int | None = setting(
        None, "Bytes a second for one download, at most. Unset: no limit.",
        affects_output=False, gt=0,
        example=2_000_000,
    )  # fmt: skip
    socket_timeout: float = setting(
        20.0, "Seconds without an answer before a connection counts as lost.",
        affects_output=False, gt=0,
    )  # fmt: skip
    min_rate: int = setting(
        1000,
        "Bytes a second that a server has to send on average while it is waited for, or the "
        "attempt ends; 0: none.",
        affects_output=False, ge=0,
    )  # fmt: skip
    lookup_timeout: float = setting(
        120.0,
        "Seconds that it may take to find out what an address holds, and each page of a list.",
        affects_output=False, gt=0,
    )  # fmt: skip
    allow_private: bool = setting(
        False,
        "Whether addresses of this machine and of private networks may be fetched from.",
        affects_output=False,
        needs_trust=True,
    )
    local_files: bool = setting(
        True, "Whether files of this machine may be named.", affects_output=False
    )
    plugins: bool = setting(
        False,
        "Whether yt-dlp plugins that are found here are loaded.",
        affects_output=False,
        needs_trust=True,
    )
    options: dict[str, Any] = setting(
        dict,
        "Any other options of yt-dlp's Python API, by name; they win over the stage's.",
        needs_trust=True,
    )
