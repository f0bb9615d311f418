"""The table of download failures: the words of sites, servers and yt-dlp, and their meanings.

yt-dlp has no error codes, so a failure has to be recognised by its words. Rows are tried in order,
a site's words before the HTTP status, and the first match decides.
"""

from dataclasses import dataclass

from engine import Drop, Ending, Permanent, Throttled, Transient

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
"""The kinds of failure that concern one video, or its own site. Not among them are kinds that an
expired login, an old yt-dlp or a blocked network would cause for every video."""

_IMPERSONATE = "pip install 'penstock[impersonate]'"
_COOKIES = "set stages.download.cookies to those of an account that may see it"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of one kind of failure. `sentence` may hold {said}: the
    words of the site or of yt-dlp."""

    ending: type[Ending]
    kind: str
    sentence: str
    after: float | None = None


STREAMS: tuple[tuple[str, Meaning], ...] = (
    (
        r"Initialization fragment found after media fragments",
        Meaning(
            Permanent,
            "unsupported",
            "its HLS stream begins anew part-way (a second EXT-X-MAP, as around advertisements), "
            "and such pieces cannot be joined into one file",
        ),
    ),
    (
        r"no m3u8? header",
        Meaning(
            Permanent,
            "unsupported",
            "what its server calls an HLS playlist is none: it does not begin with #EXTM3U",
        ),
    ),
    (
        r"two lengths of one answer",
        Meaning(
            Permanent, "unsupported", "its server says two lengths of one answer (Content-Length)"
        ),
    ),
    (
        r"\bencoding with 'idna' codec",
        Meaning(Permanent, "unsupported", "leads to an address without a possible host name"),
    ),
    (
        r"ffmpeg (could not be found|is not installed)",
        Meaning(
            Permanent,
            "unsupported",
            "is only offered as a stream that yt-dlp leaves to ffmpeg, which is not used here: "
            "most such streams are encrypted or live",
        ),
    ),
)
"""Faults of a stream or a response itself, which no other version of yt-dlp would avoid. Tried
before all other words."""

MESSAGES: tuple[tuple[str, Meaning], ...] = (
    # Words that would also match a looser row further down come first.
    (
        r"not a bot|captcha|anti-bot challenge|IP address is blocked",
        Meaning(
            Throttled,
            "bot_wall",
            "the site takes this for a bot; wait, crawl slower, give cookies "
            "(stages.download.cookies), or look like a browser (stages.download.impersonate, "
            f"which needs {_IMPERSONATE})",
        ),
    ),
    (
        r"impersonat(e target|ion)\b",
        Meaning(
            Permanent,
            "unsupported",
            f"its site answers none but browsers; install what looks like one: {_IMPERSONATE}",
        ),
    ),
    (
        r"rate-limited .*up to an hour",
        Meaning(Throttled, "throttled", "the site limits this session for up to an hour", 3600.0),
    ),
    (
        r"try again later|rate.?limit(ed)? (reached|exceeded)|too many requests",
        Meaning(Throttled, "throttled", "the site asks to slow down"),
    ),
    (
        r"unable to download video data: HTTP Error 403|Got error: HTTP Error 403",
        Meaning(
            Throttled,
            "media_403",
            "the media was refused (403) although its page was not: the address ran out, or the "
            "site wants a token",
        ),
    ),
    (
        r"(unable to download video data|Got error): HTTP Error (404|410)",
        Meaning(Permanent, "not_found", "its page is there, but its media or a piece of it is not"),
    ),
    (
        r"temporarily|internal error|something went wrong|needs? to be reloaded",
        Meaning(Transient, "transient", "the site is in trouble and says: {said}"),
    ),
    (
        r"confirm your age|age.restricted|inappropriate for some users",
        Meaning(Permanent, "auth", f"is age-restricted; {_COOKIES}"),
    ),
    (
        r"members.only|available to this channel's members|Join this channel|requires payment"
        r"|only available (to|for) (subscribers|premium)|Music Premium",
        Meaning(Permanent, "members_only", f"is for members or buyers only; {_COOKIES}"),
    ),
    (
        r"private video|video is private",
        Meaning(Permanent, "private", f"is private; {_COOKIES}"),
    ),
    (
        r"login required|log.?in to|logged.in|sign in|registered users|requires authentication"
        r"|password.protected|protected by a password|account cookies",
        Meaning(Permanent, "auth", f"needs a login; {_COOKIES}"),
    ),
    (
        r"in your country|from your location|geo.?restrict|geo.?block",
        Meaning(Permanent, "geo", "is not available in this country; a proxy elsewhere may help"),
    ),
    (
        r"DRM.protected|\bDRM\b",
        Meaning(Permanent, "drm", "is protected by DRM, which is not fetched"),
    ),
    (
        r"live event will begin|premieres? in|will begin in|stream has not started|is upcoming",
        Meaning(Drop, "deferred", "has not started yet; crawl it again once it is over"),
    ),
    (
        r"not currently live|live stream recording is not available|is offline",
        Meaning(Drop, "deferred", "is a live channel with nothing recorded to fetch"),
    ),
    (
        r"has been removed|account .*(terminated|suspended|closed)|been deleted|was deleted"
        r"|no longer (available|exists)|been taken down",
        Meaning(Permanent, "removed", "was removed; the site says: {said}"),
    ),
    (
        r"Requested format is not available|No video formats found|on this app"
        r"|Unable to extract|Failed to (parse|extract)|n.?challenge"
        r"|An extractor error has occurred",
        Meaning(
            Permanent, "systemic", f"yt-dlp found nothing to fetch ({{said}}); {SYSTEMIC_HINT}"
        ),
    ),
    (
        r"(video|content|is) unavailable|isn.t available|not available\b(?! on this app)"
        r"|doesn.t exist|does not exist|page not found",
        Meaning(Permanent, "unavailable", "is not available; the site says: {said}"),
    ),
    (
        r"no video (could be found )?in|there.s no video|no media found|only images are available",
        Meaning(Permanent, "no_video", "has no video in it; the site says: {said}"),
    ),
    (
        r"is unusual and will be skipped|file:// URLs|Unsupported url scheme|is not a valid URL"
        r"|No suitable extractor|Unsupported URL|unknown url type",
        Meaning(Permanent, "unsupported", "cannot be fetched: {said}"),
    ),
    (
        r"ffmpeg|rtmpdump|mplayer",
        Meaning(
            Permanent, "unsupported", "is only offered as a stream that cannot be fetched: {said}"
        ),
    ),
    (
        r"Did not get any data blocks|downloaded file is empty",
        Meaning(Permanent, "not_video", "is an empty file"),
    ),
    (
        r"Downloaded \d+ bytes, expected|content too short|more expected|bytes read",
        Meaning(Transient, "transient", "the connection ended before the file did ({said})"),
    ),
    (
        r"unable to (open for writing|write data|create directory|rename file)",
        Meaning(Transient, "transient", "could not be stored: {said}"),
    ),
    (
        r"fragment \d+ not found",
        Meaning(Transient, "transient", "a piece of the stream could not be fetched ({said})"),
    ),
)

EXCEPTIONS: dict[str, Meaning] = {
    # By class name, so that reading the table does not load yt-dlp.
    "GeoRestrictedError": Meaning(
        Permanent, "geo", "is not available in this country; a proxy elsewhere may help"
    ),
    "UnsupportedError": Meaning(
        Permanent, "unsupported", "there is no video on this page that yt-dlp can find"
    ),
    "UserNotLive": Meaning(Drop, "deferred", "is a live channel with nothing recorded to fetch"),
    "CertificateVerifyError": Meaning(
        Permanent, "certificate", "the site's certificate cannot be verified: {said}"
    ),
    "CookieLoadError": Meaning(Permanent, "auth", "the cookies cannot be read: {said}"),
    "DownloadCancelled": Meaning(Drop, "skipped", "yt-dlp skipped it: {said}"),
    "UnavailableVideoError": Meaning(Transient, "transient", "could not be stored: {said}"),
    "ReExtractInfo": Meaning(Transient, "transient", "has to be looked up afresh ({said})"),
}

STATUSES: dict[int, Meaning] = {
    401: Meaning(Permanent, "auth", f"needs a login (401); {_COOKIES}"),
    402: Meaning(Permanent, "members_only", f"is for buyers only (402); {_COOKIES}"),
    403: Meaning(
        Permanent,
        "forbidden",
        f"the site refuses it (403); {_COOKIES}, "
        f"or stages.download.impersonate where it wants a browser",
    ),
    404: Meaning(Permanent, "not_found", "is not there (404); check the address"),
    408: Meaning(Transient, "transient", "the server gave up waiting (408)"),
    410: Meaning(Permanent, "removed", "was removed (410)"),
    416: Meaning(
        Transient, "unresumable", "the server does not go on from what is here already (416)"
    ),
    425: Meaning(Transient, "transient", "the server asks to come back (425)"),
    429: Meaning(Throttled, "throttled", "the site asks to slow down (429)"),
    451: Meaning(Permanent, "geo", "is blocked here for legal reasons (451)"),
}

SERVER_ERROR = Meaning(Transient, "transient", "the server is in trouble ({status})")
BUSY = Meaning(Throttled, "throttled", "the server is busy and says when to come back ({status})")
REDIRECTS = Meaning(
    Permanent, "refused", "leads in a circle, or to where nothing is fetched from ({status})"
)
OTHER_STATUS = Meaning(Permanent, "refused", "the server refuses the request ({status})")
UNKNOWN_NAME = Meaning(
    Transient, "transient", "its host name cannot be looked up; check it, and the network"
)
TIMED_OUT = Meaning(Transient, "transient", "the server did not answer in time")
CONNECTION = Meaning(Transient, "transient", "the connection failed ({said})")
BAD_REQUEST = Meaning(Permanent, "unsupported", "is not an address that can be fetched: {said}")
SITE_SAYS = Meaning(Permanent, "unavailable", "the site says: {said}")
OVERSIZED = Meaning(Permanent, "oversized", "its server sends {said}, more than any honest one")
TOO_SLOW = Meaning(
    Transient, "too_slow", "its server sent {said}, under what stages.download.min_rate asks for"
)
NO_ROOM = Meaning(
    Transient,
    "no_room",
    "its video has filled the disk: {said}; free some, or lower stages.download.max_filesize",
)
ARCHIVED = Meaning(Drop, "archived", "is in yt-dlp's download archive already")
UNREADABLE = Meaning(Permanent, "unsupported", "yt-dlp can make nothing of what is there: {said}")
EXTRACTOR_BROKEN = Meaning(
    Permanent, "systemic", f"yt-dlp failed on it ({{said}}); {SYSTEMIC_HINT}"
)
