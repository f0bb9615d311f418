"""How a download can end other than well: a table, and the one function that reads it.

yt-dlp has no error codes, so what a site says has to be recognised by its words. Rows are tried in
order, a site's words before the HTTP status, and the first that matches decides.
"""

import errno
import re
from collections.abc import Iterator

from engine import Cancelled, Drop, Ending, Permanent, Throttled, Transient, shown
from stages.addresses import PrivateAddress, host_of
from stages.stream_faults import STREAMS, Row
from stages.stumbles import stumbled_over
from stages.waits import read_retry_after

LONGEST_WAIT = 3600.0
"""Seconds; what a server may ask for in Retry-After at most."""

SYSTEMIC_HINT = (
    "sites change, so update yt-dlp (pip install -U yt-dlp yt-dlp-ejs); "
    "YouTube also needs a JavaScript runtime such as Deno"
)
ALONE = frozenset(
    {
        "certificate",
        "drm",
        "geo",
        "local_file",
        "media_403",
        "members_only",
        "no_video",
        "not_found",
        "not_video",
        "oversized",
        "private",
        "private_address",
        "removed",
        "too_deep",
        "unavailable",
        "unreadable",
        "unsupported",
    }
)
"""The kinds of failure that lie in one video, or in its own site. Not among them are those that a
login which ran out, an old yt-dlp or a refused network would make of every video."""

_IMPERSONATE = "pip install 'penstock[impersonate]'"
_COOKIES = "set stages.download.cookies to those of an account that may see it"


MESSAGES: tuple[tuple[str, Row], ...] = (
    # Words that would also match a looser row further down come first.
    (
        r"not a bot|captcha|anti-bot challenge|IP address is blocked",
        Row(
            Throttled,
            "bot_wall",
            "the site takes this for a bot; wait, crawl slower, give cookies "
            "(stages.download.cookies), or look like a browser (stages.download.impersonate, "
            f"which needs {_IMPERSONATE})",
        ),
    ),
    (
        r"impersonat(e target|ion)\b",
        Row(
            Permanent,
            "unsupported",
            f"its site answers none but browsers; install what looks like one: {_IMPERSONATE}",
        ),
    ),
    (
        r"rate-limited .*up to an hour",
        Row(Throttled, "throttled", "the site limits this session for up to an hour", 3600.0),
    ),
    (
        r"try again later|rate.?limit(ed)? (reached|exceeded)|too many requests",
        Row(Throttled, "throttled", "the site asks to slow down"),
    ),
    (
        r"unable to download video data: HTTP Error 403|Got error: HTTP Error 403",
        Row(
            Throttled,
            "media_403",
            "the media was refused (403) although its page was not: the address ran out, or the "
            "site wants a token",
        ),
    ),
    (
        r"(unable to download video data|Got error): HTTP Error (404|410)",
        Row(Permanent, "not_found", "its page is there, but its media or a piece of it is not"),
    ),
    (
        r"temporarily|internal error|something went wrong|needs? to be reloaded",
        Row(Transient, "transient", "the site is in trouble and says: {said}"),
    ),
    (
        r"confirm your age|age.restricted|inappropriate for some users",
        Row(Permanent, "auth", f"is age-restricted; {_COOKIES}"),
    ),
    (
        r"members.only|available to this channel's members|Join this channel|requires payment"
        r"|only available (to|for) (subscribers|premium)|Music Premium",
        Row(Permanent, "members_only", f"is for members or buyers only; {_COOKIES}"),
    ),
    (
        r"private video|video is private",
        Row(Permanent, "private", f"is private; {_COOKIES}"),
    ),
    (
        r"login required|log.?in to|logged.in|sign in|registered users|requires authentication"
        r"|password.protected|protected by a password|account cookies",
        Row(Permanent, "auth", f"needs a login; {_COOKIES}"),
    ),
    (
        r"in your country|from your location|geo.?restrict|geo.?block",
        Row(Permanent, "geo", "is not available in this country; a proxy elsewhere may help"),
    ),
    (r"DRM.protected|\bDRM\b", Row(Permanent, "drm", "is protected by DRM, which is not fetched")),
    (
        r"live event will begin|premieres? in|will begin in|stream has not started|is upcoming",
        Row(Drop, "deferred", "has not started yet; crawl it again once it is over"),
    ),
    (
        r"not currently live|live stream recording is not available|is offline",
        Row(Drop, "deferred", "is a live channel with nothing recorded to fetch"),
    ),
    (
        r"has been removed|account .*(terminated|suspended|closed)|been deleted|was deleted"
        r"|no longer (available|exists)|been taken down",
        Row(Permanent, "removed", "was removed; the site says: {said}"),
    ),
    (
        r"Requested format is not available|No video formats found|on this app"
        r"|Unable to extract|Failed to (parse|extract)|n.?challenge"
        r"|An extractor error has occurred",
        Row(Permanent, "systemic", f"yt-dlp found nothing to fetch ({{said}}); {SYSTEMIC_HINT}"),
    ),
    (
        r"(video|content|is) unavailable|isn.t available|not available\b(?! on this app)"
        r"|doesn.t exist|does not exist|page not found",
        Row(Permanent, "unavailable", "is not available; the site says: {said}"),
    ),
    (
        r"no video (could be found )?in|there.s no video|no media found|only images are available",
        Row(Permanent, "no_video", "has no video in it; the site says: {said}"),
    ),
    (
        r"is unusual and will be skipped|file:// URLs|Unsupported url scheme|is not a valid URL"
        r"|No suitable extractor|Unsupported URL|unknown url type",
        Row(Permanent, "unsupported", "cannot be fetched: {said}"),
    ),
    (
        r"ffmpeg|rtmpdump|mplayer",
        Row(Permanent, "unsupported", "is only offered as a stream that cannot be fetched: {said}"),
    ),
    (
        r"Did not get any data blocks|downloaded file is empty",
        Row(Permanent, "not_video", "is an empty file"),
    ),
    (
        r"Downloaded \d+ bytes, expected|content too short|more expected|bytes read",
        Row(Transient, "transient", "the connection ended before the file did ({said})"),
    ),
    (
        r"unable to (open for writing|write data|create directory|rename file)",
        Row(Transient, "transient", "could not be stored: {said}"),
    ),
    (
        r"fragment \d+ not found",
        Row(Transient, "transient", "a piece of the stream could not be fetched ({said})"),
    ),
)

EXCEPTIONS: dict[str, Row] = {
    # By class name, so that reading the table does not load yt-dlp.
    "GeoRestrictedError": Row(
        Permanent, "geo", "is not available in this country; a proxy elsewhere may help"
    ),
    "UnsupportedError": Row(
        Permanent, "unsupported", "there is no video on this page that yt-dlp can find"
    ),
    "UserNotLive": Row(Drop, "deferred", "is a live channel with nothing recorded to fetch"),
    "CertificateVerifyError": Row(
        Permanent, "certificate", "the site's certificate cannot be verified: {said}"
    ),
    "CookieLoadError": Row(Permanent, "auth", "the cookies cannot be read: {said}"),
    "DownloadCancelled": Row(Drop, "skipped", "yt-dlp skipped it: {said}"),
    "UnavailableVideoError": Row(Transient, "transient", "could not be stored: {said}"),
    "ReExtractInfo": Row(Transient, "transient", "has to be looked up afresh ({said})"),
}

STATUSES: dict[int, Row] = {
    401: Row(Permanent, "auth", f"needs a login (401); {_COOKIES}"),
    402: Row(Permanent, "members_only", f"is for buyers only (402); {_COOKIES}"),
    403: Row(
        Permanent,
        "forbidden",
        f"the site refuses it (403); {_COOKIES}, "
        f"or stages.download.impersonate where it wants a browser",
    ),
    404: Row(Permanent, "not_found", "is not there (404); check the address"),
    408: Row(Transient, "transient", "the server gave up waiting (408)"),
    410: Row(Permanent, "removed", "was removed (410)"),
    416: Row(Transient, "unresumable", "the server does not go on from what is here already (416)"),
    425: Row(Transient, "transient", "the server asks to come back (425)"),
    429: Row(Throttled, "throttled", "the site asks to slow down (429)"),
    451: Row(Permanent, "geo", "is blocked here for legal reasons (451)"),
}

SERVER_ERROR = Row(Transient, "transient", "the server is in trouble ({status})")
BUSY = Row(Throttled, "throttled", "the server is busy and says when to come back ({status})")
REDIRECTS = Row(
    Permanent, "refused", "leads in a circle, or to where nothing is fetched from ({status})"
)
OTHER_STATUS = Row(Permanent, "refused", "the server refuses the request ({status})")
UNKNOWN_NAME = Row(
    Transient, "transient", "its host name cannot be looked up; check it, and the network"
)
TIMED_OUT = Row(Transient, "transient", "the server did not answer in time")
CONNECTION = Row(Transient, "transient", "the connection failed ({said})")
BAD_REQUEST = Row(Permanent, "unsupported", "is not an address that can be fetched: {said}")
SITE_SAYS = Row(Permanent, "unavailable", "the site says: {said}")
OVERSIZED = Row(Permanent, "oversized", "its server sends {said}, more than any honest one")
TOO_SLOW = Row(
    Transient, "too_slow", "its server sent {said}, under what stages.download.min_rate asks for"
)
NO_ROOM = Row(
    Transient,
    "no_room",
    "its video has filled the disk: {said}; free some, or lower stages.download.max_filesize",
)
ARCHIVED = Row(Drop, "archived", "is in yt-dlp's download archive already")
UNREADABLE = Row(Permanent, "unsupported", "yt-dlp can make nothing of what is there: {said}")
EXTRACTOR_BROKEN = Row(Permanent, "systemic", f"yt-dlp failed on it ({{said}}); {SYSTEMIC_HINT}")


def ending(row: Row, source: str, said: str) -> Ending:
    """The ending of a row that no server's words led to."""
    return _ending(row, source, said=said, status=None, after=None)


def classify(error: BaseException, source: str) -> BaseException:
    """What to raise for an exception that came out of yt-dlp while it worked on `source`.

    An Ending with one line for a person; an OSError with errno ENOSPC where the disk is full, which
    is no item's fault; the exception itself where it is one of the engine's own, or did not arise
    in yt-dlp.
    """
    if isinstance(error, (Ending, Cancelled)):
        return error
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, (Ending, Cancelled)):
            return cause
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return OSError(errno.ENOSPC, "the disk is full or the quota is used up", cause.filename)
        if isinstance(cause, PrivateAddress):
            return Permanent(
                f"{source}: leads to the private address {cause.address}; only public ones are "
                "fetched, unless --allow-private is given",
                kind="private_address",
            )
    if not any(_is_from(cause, "yt_dlp") for cause in chain):
        row = _row_of_stumble(error)
        said = f"{type(error).__name__}: {error}"
        return error if row is None else _ending(row, source, said=said, status=None, after=None)
    words, after = _words(chain), _retry_after(chain)
    found = re.search(r"HTTP Error (\d{3})", words)
    status = int(found[1]) if found else None
    row = _row(chain, words, status, after)
    return _ending(row, source, said=_said(words, error), status=status, after=after)


def _row(
    chain: list[BaseException], words: str, status: int | None, retry_after: float | None
) -> Row:
    names = [kind.__name__ for cause in chain for kind in type(cause).__mro__]
    for name in names:
        if name in EXCEPTIONS:
            return EXCEPTIONS[name]
    for pattern, row in STREAMS + MESSAGES:
        if re.search(pattern, words, re.IGNORECASE):
            if row.kind == "systemic" and not re.match("Requested format", words):
                return row if _is_of_a_site(chain) else UNREADABLE
            return row
    if status is not None:
        return _status_row(status, retry_after)
    if "gaierror" in names:
        return UNKNOWN_NAME
    if "TimeoutError" in names or re.search(r"timed? ?out", words, re.IGNORECASE):
        return TIMED_OUT
    if "TransportError" in names or "Got error:" in words:
        return CONNECTION
    if "RequestError" in names:
        return BAD_REQUEST
    expected = any(getattr(cause, "expected", False) for cause in chain)
    if expected:
        return SITE_SAYS
    return EXTRACTOR_BROKEN if "ExtractorError" in names and _is_of_a_site(chain) else UNREADABLE


def _is_of_a_site(chain: list[BaseException]) -> bool:
    """Whether code for one site failed, which follows that site, and not code for any page."""
    extractors = [str(name) for cause in chain if (name := getattr(cause, "ie", None))]
    if extractors:
        return not any(name.lower().startswith("generic") for name in extractors)
    return "page" not in map(stumbled_over, chain) or "site" in map(stumbled_over, chain)


def _row_of_stumble(error: BaseException) -> Row | None:
    over = stumbled_over(error)
    if over is None or over == "connection":
        return CONNECTION if over else None
    found = (row for pattern, row in STREAMS if re.search(pattern, str(error)))
    return next(found, EXTRACTOR_BROKEN if over == "site" else UNREADABLE)


def _status_row(status: int, retry_after: float | None) -> Row:
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:
        return BUSY if status == 503 and retry_after is not None else SERVER_ERROR
    return REDIRECTS if status < 400 else OTHER_STATUS


def _ending(row: Row, source: str, *, said: str, status: int | None, after: float | None) -> Ending:
    reason = f"{source}: {row.sentence.format(said=said, status=status)}"
    if row.ending is Throttled:
        after = row.after if after is None else after
        return Throttled(reason, after=after, key=host_of(source), kind=row.kind)
    return row.ending(reason, kind=row.kind)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and what led to it, outermost first.

    yt-dlp keeps causes in `exc_info` (a DownloadError's) and `cause` (an ExtractorError's); the
    implicit context matters too: a full disk is only that of an UnavailableVideoError.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        info = getattr(current, "exc_info", None)
        causes = (
            info[1] if isinstance(info, tuple) and len(info) > 1 else None,
            getattr(current, "cause", None),
            current.__cause__,
            current.__context__,
            getattr(current, "reason", None),  # a urllib URLError's
        )
        waiting.extend(cause for cause in causes if isinstance(cause, BaseException))


def _is_from(error: BaseException, package: str) -> bool:
    return any(kind.__module__.partition(".")[0] == package for kind in type(error).__mro__)


def _words(chain: list[BaseException]) -> str:
    """What the site or yt-dlp said, without what may hold any words at all: the address, the id,
    and the phrase that a server puts behind a status ("503 Service Unavailable")."""
    messages = (getattr(cause, "orig_msg", None) for cause in chain)
    said = next((message for message in messages if isinstance(message, str)), None)
    if said is None:
        said = re.sub(r"^\s*(ERROR:\s*)?(\[[^\]]*\]\s*([^\s:]+:\s)?)?", "", str(chain[0]))
    return re.sub(r"(HTTP Error \d{3}): [^.(]*", r"\1", said).strip()


def _said(words: str, error: BaseException) -> str:
    """The same, as a piece of a sentence: one line without yt-dlp's advice on its own flags."""
    said = re.sub(
        r"^(\[download\] )?(Got error|Unable to download \w+): |\s*(\(caused by .*"
        r"|; please report this issue.*|\. (If you believe|Giving up after|Use --|See ).*)",
        "",
        words.partition("\n")[0],
    )
    said = re.sub(r"^<urlopen error (.*)>$", r"\1", said.strip())
    return said.rstrip(".") or type(error).__name__


def _retry_after(chain: list[BaseException]) -> float | None:
    """Seconds until the server wants to be asked again, at most an hour, if it says."""
    for cause in chain:
        headers = getattr(getattr(cause, "response", None), "headers", None)
        value = headers.get("Retry-After") if headers is not None else None
        if value is None:
            continue
        seconds = read_retry_after(value)
        return None if seconds is None else min(seconds, LONGEST_WAIT)
    return None


def not_found_out(source: str, within: float) -> Transient:
    """The ending of an attempt that did not learn in time what stands at an address."""
    return Transient(
        f"{shown(source)}: what it holds was not found out within {within:g} seconds "
        "(stages.download.lookup_timeout)",
        kind="lookup_timeout",
    )
