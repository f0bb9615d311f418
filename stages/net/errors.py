"""Turns a failed download into one of the engine's endings, by the table in `faults`."""

import errno
import re
from collections.abc import Iterator

from engine import Cancelled, Ending, Permanent, Throttled, Transient, shown
from stages.net.addresses import PrivateAddress, host_of
from stages.net.faults import (
    BAD_REQUEST,
    BUSY,
    CONNECTION,
    EXCEPTIONS,
    EXTRACTOR_BROKEN,
    MESSAGES,
    OTHER_STATUS,
    REDIRECTS,
    SERVER_ERROR,
    SITE_SAYS,
    STATUSES,
    STREAMS,
    TIMED_OUT,
    UNKNOWN_NAME,
    UNREADABLE,
    Meaning,
)
from stages.net.stumbles import stumbled_over
from stages.net.waits import read_retry_after

LONGEST_WAIT = 3600.0
"""Seconds: the most that is taken from a Retry-After header."""


def ending(row: Meaning, source: str, said: str) -> Ending:
    """The ending for a row of the table, without any words of the server."""
    return _ending(row, source, said=said, status=None, after=None)


def classify(error: BaseException, source: str) -> BaseException:
    """The exception to raise for one that yt-dlp raised while it worked on `source`.

    An Ending with one line for a person; an OSError with errno ENOSPC where the disk is full, which
    is no item's fault; the exception itself if it is the engine's own, or did not come from yt-dlp.
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
                "fetched, unless stages.download.allow_private is true (--allow-private)",
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
) -> Meaning:
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
    """Whether the code for one site failed, rather than the code for any page."""
    extractors = [str(name) for cause in chain if (name := getattr(cause, "ie", None))]
    if extractors:
        return not any(name.lower().startswith("generic") for name in extractors)
    return "page" not in map(stumbled_over, chain) or "site" in map(stumbled_over, chain)


def _row_of_stumble(error: BaseException) -> Meaning | None:
    over = stumbled_over(error)
    if over is None or over == "connection":
        return CONNECTION if over else None
    found = (row for pattern, row in STREAMS if re.search(pattern, str(error)))
    return next(found, EXTRACTOR_BROKEN if over == "site" else UNREADABLE)


def _status_row(status: int, retry_after: float | None) -> Meaning:
    if status in STATUSES:
        return STATUSES[status]
    if status >= 500:
        return BUSY if status == 503 and retry_after is not None else SERVER_ERROR
    return REDIRECTS if status < 400 else OTHER_STATUS


def _ending(
    row: Meaning, source: str, *, said: str, status: int | None, after: float | None
) -> Ending:
    reason = f"{source}: {row.sentence.format(said=said, status=status)}"
    if row.ending is Throttled:
        after = row.after if after is None else after
        return Throttled(reason, after=after, key=host_of(source), kind=row.kind)
    return row.ending(reason, kind=row.kind)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and its causes, outermost first.

    yt-dlp keeps causes in `exc_info` (a DownloadError's) and `cause` (an ExtractorError's). The
    implicit context matters too: it is the only trace of a full disk in an UnavailableVideoError.
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
    """The words of the site or yt-dlp, without parts that may hold any words: the address, the id,
    and the phrase behind a status ("503 Service Unavailable")."""
    messages = (getattr(cause, "orig_msg", None) for cause in chain)
    said = next((message for message in messages if isinstance(message, str)), None)
    if said is None:
        said = re.sub(r"^\s*(ERROR:\s*)?(\[[^\]]*\]\s*([^\s:]+:\s)?)?", "", str(chain[0]))
    return re.sub(r"(HTTP Error \d{3}): [^.(]*", r"\1", said).strip()


def _said(words: str, error: BaseException) -> str:
    """The words as a part of a sentence: one line without yt-dlp's advice on its own flags."""
    said = re.sub(
        r"^(\[download\] )?(Got error|Unable to download \w+): |\s*(\(caused by .*"
        r"|; please report this issue.*|\. (If you believe|Giving up after|Use --|See ).*)",
        "",
        words.partition("\n")[0],
    )
    said = re.sub(r"^<urlopen error (.*)>$", r"\1", said.strip())
    return said.rstrip(".") or type(error).__name__


def _retry_after(chain: list[BaseException]) -> float | None:
    """Seconds until the server wants the next request, an hour at most; None if it does not say."""
    for cause in chain:
        headers = getattr(getattr(cause, "response", None), "headers", None)
        value = headers.get("Retry-After") if headers is not None else None
        if value is None:
            continue
        seconds = read_retry_after(value)
        return None if seconds is None else min(seconds, LONGEST_WAIT)
    return None


def not_found_out(source: str, within: float) -> Transient:
    """The ending of an attempt that could not look up an address in time."""
    return Transient(
        f"{shown(source)}: what it holds was not found out within {within:g} seconds "
        "(stages.download.lookup_timeout)",
        kind="lookup_timeout",
    )
