"""Each row of the table of failures, by the words and exceptions that real sites and yt-dlp use."""

import errno
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from yt_dlp.cookies import CookieLoadError
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    ProxyError,
    RequestError,
    TransportError,
)
from yt_dlp.utils import (
    DownloadCancelled,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    RegexNotFoundError,
    ThrottledDownload,
    UnavailableVideoError,
    UnsupportedError,
    UserNotLive,
)

from engine import Cancelled, Drop, Ending, Permanent, Throttled, Transient
from stages.demo.server import BareStatus, MediaServer
from stages.net.errors import classify
from stages.net.faults import EXCEPTIONS, MESSAGES, STATUSES
from tests.stages.downloading import fetch

URL = "https://www.example.com/watch?v=abc"


def said_by_site(words: str, **options: Any) -> DownloadError:
    """What comes out of yt-dlp when a site's code raises an error with these words."""
    inner = ExtractorError(words, expected=True, video_id="abc", ie="site", **options)
    return DownloadError(f"ERROR: {inner}", (type(inner), inner, None))


def said_by_downloader(words: str) -> DownloadError:
    """The same once yt-dlp's own retries have run out: nothing is left but the message."""
    return DownloadError(f"ERROR: {words}", (None, None, None))


def http_error(status: int, **headers: str) -> HTTPError:
    return HTTPError(Response(BytesIO(b""), URL, headers, status=status, reason="Not available"))


def ending_of(error: BaseException) -> Ending:
    ending = classify(error, URL)
    assert isinstance(ending, Ending), ending
    assert ending.reason.startswith(f"{URL}: ")
    assert "\n" not in ending.reason
    return ending


SITES: list[tuple[str, type[Ending], str]] = [
    (
        "Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies for the "
        "authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ  for how to",
        Throttled,
        "bot_wall",
    ),
    ("Video unavailable. YouTube is requiring a captcha challenge", Throttled, "bot_wall"),
    ("Got HTTP Error 403 caused by Cloudflare anti-bot challenge; try", Throttled, "bot_wall"),
    ("Your IP address is blocked from accessing this post", Throttled, "bot_wall"),
    (
        "The extractor is attempting impersonation, but no impersonate target is available. See  "
        "https://github.com/yt-dlp/yt-dlp#impersonation  for information",
        Permanent,
        "unsupported",
    ),
    (
        "This content isn't available, try again later. The current session has been rate-limited "
        "by YouTube for up to an hour. It is recommended to use `-t sleep`",
        Throttled,
        "throttled",
    ),
    ("Please try again later", Throttled, "throttled"),
    ("Requested content is not available, rate-limit reached", Throttled, "throttled"),
    ("The page needs to be reloaded.", Transient, "transient"),
    ("This service is temporarily unavailable", Transient, "transient"),
    ("Sign in to confirm your age. This video may be inappropriate", Permanent, "auth"),
    ("Join this channel to get access to members-only content", Permanent, "members_only"),
    ("This video requires payment to watch", Permanent, "members_only"),
    ("Private video. Sign in if you've been granted access", Permanent, "private"),
    ("Video unavailable. This video is private", Permanent, "private"),
    ("This video is only available for registered users", Permanent, "auth"),
    ("You need to log in to access this content", Permanent, "auth"),
    ("This video is protected by a password", Permanent, "auth"),
    ("NSFW tweet requires authentication", Permanent, "auth"),
    ("The uploader has not made this video available in your country", Permanent, "geo"),
    ("Not available from your location due to geo restriction", Permanent, "geo"),
    ("This video is DRM protected", Permanent, "drm"),
    ("This live event will begin in 3 hours.", Drop, "deferred"),
    ("Premieres in 12 minutes", Drop, "deferred"),
    ("This live stream recording is not available.", Drop, "deferred"),
    ("The channel is not currently live", Drop, "deferred"),
    ("This video has been removed by the uploader", Permanent, "removed"),
    (
        "Video unavailable. This video is no longer available because the YouTube account "
        "associated with this video has been terminated.",
        Permanent,
        "removed",
    ),
    ("Requested format is not available. Use --list-formats", Permanent, "systemic"),
    ("No video formats found!", Permanent, "systemic"),
    ("The following content is not available on this app", Permanent, "systemic"),
    ("Video unavailable", Permanent, "unavailable"),
    ("The playlist does not exist.", Permanent, "unavailable"),
    ("No video could be found in this tweet", Permanent, "no_video"),
    ("There is something about this one that nobody foresaw", Permanent, "unavailable"),
    ("'abc' is not a valid URL", Permanent, "unsupported"),
]

DOWNLOADS: list[tuple[str, type[Ending], str]] = [
    ("unable to download video data: HTTP Error 403: Forbidden", Throttled, "media_403"),
    ("\r[download] Got error: HTTP Error 403: Forbidden. Giving up", Throttled, "media_403"),
    ("unable to download video data: HTTP Error 404: Not Found", Permanent, "not_found"),
    ("\r[download] Got error: HTTP Error 404: Not Found. Giving up", Permanent, "not_found"),
    ("\r[download] Got error: HTTP Error 503: Service Unavailable", Transient, "transient"),
    ("\r[download] Got error: 10 bytes read, 20 more expected", Transient, "transient"),
    ("\r[download] Got error: Downloaded 10 bytes, expected 30 bytes", Transient, "transient"),
    ("\r[download] Got error: The read operation timed out", Transient, "transient"),
    ("\r[download] Got error: [Errno 104] Connection reset by peer", Transient, "transient"),
    ("unable to write data: [Errno 5] Input/output error", Transient, "transient"),
    ("fragment 2 not found, unable to continue", Transient, "transient"),
    ("Did not get any data blocks", Permanent, "not_video"),
    ("The downloaded file is empty", Permanent, "not_video"),
    ("m3u8 download detected but ffmpeg could not be found", Permanent, "unsupported"),
    ("The extracted extension ('exe') is unusual and will be skipped", Permanent, "unsupported"),
]


@pytest.mark.parametrize(("words", "ending", "kind"), SITES)
def test_what_sites_say(words: str, ending: type[Ending], kind: str) -> None:
    found = ending_of(said_by_site(words))
    assert (type(found), found.kind) == (ending, kind)


@pytest.mark.parametrize(("words", "ending", "kind"), DOWNLOADS)
def test_what_is_left_when_the_retries_have_run_out(
    words: str, ending: type[Ending], kind: str
) -> None:
    found = ending_of(said_by_downloader(words))
    assert (type(found), found.kind) == (ending, kind)


def test_every_row_of_words_is_met_by_an_example() -> None:
    met = set()
    for words, _, _ in SITES + DOWNLOADS:
        met.add(next((p for p, _ in MESSAGES if re.search(p, words, re.IGNORECASE)), None))
    assert [pattern for pattern, _ in MESSAGES if pattern not in met] == []


@pytest.mark.parametrize(
    ("status", "ending", "kind"),
    [
        *((status, row.ending, row.kind) for status, row in STATUSES.items()),
        (302, Permanent, "refused"),
        (400, Permanent, "refused"),
        (418, Permanent, "refused"),
        (500, Transient, "transient"),
        (503, Transient, "transient"),
    ],
)
def test_statuses_of_a_real_server(
    tmp_path: Path, status: int, ending: type[Ending], kind: str
) -> None:
    with MediaServer({"/private-video-captcha": BareStatus(status)}) as server:
        with pytest.raises(ending, match=str(status)) as caught:
            fetch(tmp_path, server.url("/private-video-captcha"))
        assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("name", "make", "kind"),
    [
        ("GeoRestrictedError", lambda: GeoRestrictedError("no", countries=["DE"]), "geo"),
        ("UnsupportedError", lambda: UnsupportedError("http://x/drm-protected"), "unsupported"),
        ("UserNotLive", UserNotLive, "deferred"),
        ("CertificateVerifyError", lambda: CertificateVerifyError("self-signed"), "certificate"),
        ("CookieLoadError", lambda: CookieLoadError("failed to load cookies"), "auth"),
        ("DownloadCancelled", lambda: DownloadCancelled("a filter said no"), "skipped"),
        ("UnavailableVideoError", lambda: UnavailableVideoError("[Errno 13]"), "transient"),
        ("ReExtractInfo", ThrottledDownload, "transient"),
    ],
)
def test_exceptions_by_class(name: str, make: Callable[[], Exception], kind: str) -> None:
    assert name in EXCEPTIONS
    assert ending_of(make()).kind == kind
    wrapped = make()
    assert ending_of(DownloadError("ERROR: x", (type(wrapped), wrapped, None))).kind == kind


def test_every_class_of_the_table_has_an_example() -> None:
    marks = test_exceptions_by_class.pytestmark  # type: ignore[attr-defined]
    assert {example[0] for example in marks[0].args[1]} == set(EXCEPTIONS)


@pytest.mark.parametrize(
    ("error", "ending", "words"),
    [
        (TransportError(cause=socket.gaierror(-2, "no")), Transient, "cannot be looked up"),
        (TransportError(cause=TimeoutError("timed out")), Transient, "did not answer in time"),
        (TransportError(cause=ConnectionResetError(104, "reset")), Transient, "connection failed"),
        (ProxyError("Tunnel connection failed"), Transient, "Tunnel connection failed"),
        (RequestError("strange characters"), Permanent, "strange characters"),
        (RegexNotFoundError("player: nothing there"), Permanent, "update yt-dlp"),
    ],
)
def test_the_network_and_broken_extractors(
    error: Exception, ending: type[Ending], words: str
) -> None:
    found = ending_of(error)
    assert isinstance(found, ending)
    assert words in found.reason


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [
        (429, "7", 7.0),
        (429, "100000", 3600.0),
        (429, "-5", 0.0),
        (429, "soon", None),
        (429, "NaN", None),
        (429, "inf", None),
        (429, "1e400", None),
        (429, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        (429, "Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        (429, "Mon, 01 Jan 0001 00:00:00 GMT", 0.0),
        (429, None, None),
        (503, "5", 5.0),
    ],
)
def test_retry_after_is_obeyed_up_to_an_hour(
    status: int, retry_after: str | None, expected: float | None
) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    cause = http_error(status, **headers)
    words = f"Unable to download webpage: {cause}"
    found = ending_of(said_by_site(words, cause=cause))
    assert isinstance(found, Throttled)
    assert (found.after, found.key) == (expected, "example.com")


def test_retry_after_may_be_a_moment() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=120), usegmt=True)
    found = ending_of(http_error(429, **{"Retry-After": moment}))
    assert isinstance(found, Throttled)
    assert 100 < (found.after or 0) <= 120


def test_a_site_that_names_an_hour_is_left_alone_for_one() -> None:
    found = ending_of(said_by_site("has been rate-limited by YouTube for up to an hour"))
    assert isinstance(found, Throttled)
    assert found.after == 3600


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("wrapped", ["plain", "unavailable", "download"])
def test_a_full_disk_is_no_items_fault(code: int, wrapped: str) -> None:
    full: Exception = OSError(code, "full", "/x/video.part")
    if wrapped == "unavailable":
        unavailable = UnavailableVideoError(full)
        unavailable.__context__ = full  # as it is when raised while `full` is handled
        full = unavailable
    elif wrapped == "download":
        full = DownloadError("ERROR: unable to write data", (OSError, full, None))
    found = classify(full, URL)
    assert isinstance(found, OSError)
    assert found.errno == errno.ENOSPC


def test_the_engines_own_and_unforeseen_exceptions_pass() -> None:
    for error in (Cancelled("given up"), Drop("no"), Transient("later"), TypeError("a bug")):
        assert classify(error, URL) is error
    buried = Drop("too long")
    assert classify(DownloadError("ERROR: x", (Drop, buried, None)), URL) is buried


def test_words_in_an_address_or_a_phrase_mean_nothing() -> None:
    error = DownloadError("ERROR: [generic] captcha-private-video: HTTP Error 500: DRM captcha")
    assert ending_of(error).kind == "transient"
