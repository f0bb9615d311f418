"""What is wrong with a stream or an answer itself: no other version of yt-dlp would help."""

from dataclasses import dataclass

from engine import Ending, Permanent


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of failure means. `sentence` may hold {said}: the site's or yt-dlp's words."""

    ending: type[Ending]
    kind: str
    sentence: str
    after: float | None = None


STREAMS: tuple[tuple[str, Row], ...] = (
    (
        r"Initialization fragment found after media fragments",
        Row(
            Permanent,
            "unsupported",
            "its HLS stream begins anew part-way (a second EXT-X-MAP, as around advertisements), "
            "and such pieces cannot be joined into one file",
        ),
    ),
    (
        r"no m3u8? header",
        Row(
            Permanent,
            "unsupported",
            "what its server calls an HLS playlist is none: it does not begin with #EXTM3U",
        ),
    ),
    (
        r"two lengths of one answer",
        Row(Permanent, "unsupported", "its server says two lengths of one answer (Content-Length)"),
    ),
    (
        r"\bencoding with 'idna' codec",
        Row(Permanent, "unsupported", "leads to an address without a possible host name"),
    ),
    (
        r"ffmpeg (could not be found|is not installed)",
        Row(
            Permanent,
            "unsupported",
            "is only offered as a stream that yt-dlp leaves to ffmpeg, which is not used here: "
            "most such streams are encrypted or live",
        ),
    ),
)
"""Tried before all other words."""
