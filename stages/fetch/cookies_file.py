"""A cookies file, checked before anything is fetched with it.

yt-dlp skips lines that it cannot read, prints them whole, including the session's secret, and then
fetches without them. Here such a file is refused; the message has its name and the line's number
only.
"""

import io
import os
import re
from pathlib import Path

from engine import ConfigError

_HEADER = re.compile(r"#( Netscape)? HTTP Cookie File")
_HTTP_ONLY = "#HttpOnly_"
_FIELDS = 7


def read_cookies(cookies: Path) -> io.StringIO:
    """The cookies, as a file in memory for one YoutubeDL, since yt-dlp writes to it when it closes.
    A copy on the disk would outlive a process that is killed, and holds secrets.

    Raises ConfigError for a file that cannot be read, or that yt-dlp cannot read.
    """
    path = Path(os.path.expanduser(cookies))  # noqa: PTH111 - never raises
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"stages.download.cookies: cannot read {str(cookies)!r}: {error.strerror}"
        ) from None
    return io.StringIO(_checked(content, path))


def _checked(content: bytes, path: Path) -> str:
    """The file's text, without a byte order mark."""

    def fault(line: int, what: str) -> ConfigError:
        return ConfigError(
            f"stages.download.cookies: yt-dlp does not take this: {path}, line {line}: {what}"
        )

    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise fault(line, "is no UTF-8 text; save the file as UTF-8") from None
    lines = re.split(r"\r\n|\r|\n", text)
    if text.lstrip()[:1] in ("[", "{"):
        raise fault(1, "is JSON; export the cookies in Netscape format")
    if not _HEADER.match(lines[0]):
        raise fault(1, "has to be '# Netscape HTTP Cookie File'")
    for number, entry in enumerate(lines, 1):
        wrong = _wrong_with(entry)
        if wrong is not None:
            raise fault(number, wrong)
    return "\n".join(lines)


def _wrong_with(line: str) -> str | None:
    """The reason why a line cannot be read, in words that quote nothing of it."""
    entry = line.removeprefix(_HTTP_ONLY)
    if entry.startswith("#") or not entry.strip():
        return None
    fields = entry.split("\t")
    if len(fields) != _FIELDS:
        spaces = "; are there spaces in place of tabs?" if len(entry.split()) >= _FIELDS else ""
        return f"has {len(fields)} of {_FIELDS} fields with a tab between them{spaces}"
    domain, subdomains, _, _, expires, _, _ = fields
    if expires and not re.fullmatch(r"[0-9]{1,25}(\.[0-9]{1,25})?", expires):
        return "its fifth field, when it expires, is no number of seconds"
    if domain.startswith(".") != (subdomains == "TRUE"):
        return "its second field has to be TRUE where its first begins with a dot, else FALSE"
    return None
