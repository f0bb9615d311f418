"""A list of sources as `--from` names it: a file or standard input, with one source a line."""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from engine.contract.errors import UsageError

BINARY_SHOWS = 4096
"""The first bytes of a list, which show whether the file is text."""

LONGEST_LINE = 2**20
"""The most bytes of a line. A file with a longer one is no list, and must
not be read into memory."""

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def open_list(name: str) -> Iterator[str]:
    """The lines of a list, read lazily, without blank ones and comments; "-" is stdin.

    A line that begins with `#`, `;` or `]` is a comment. So is the text from a `#` behind white
    space on, unless it is part of an existing file's name. Within an address `#` is part of it. A
    file whose name begins like a comment is listed as `./#name`.

    Raises UsageError where the file cannot be opened, and where it is no text.
    """
    try:
        if name == "-":
            from engine.sources.standard_input import standard_input

            return _sources(standard_input(), name)
        file = Path(name).open("rb")  # noqa: SIM115 - read lazily
        begins = file.peek(BINARY_SHOWS)
    except OSError as error:
        raise UsageError(
            f"--from {name}: {error.strerror}; give a file with one source a line"
        ) from None
    if b"\0" in begins:
        file.close()
        raise _no_text(name)
    return _sources(file, name)


def _sources(file: BinaryIO, name: str) -> Iterator[str]:
    with file:
        for number, line in enumerate(_lines(file, name)):
            # UTF-16 shows at the beginning; a zero byte further down spoils only its own line.
            if number == 0 and (b"\0" in line or line.startswith(UTF16)):
                raise _no_text(name)
            source = _source(_text(line))
            if source is not None:
                yield source


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    r"""Lines end at \n, \r\n and \r alone: what else Unicode ends lines with may be in a name."""
    begun = b""
    count = 0
    while block := file.readline(LONGEST_LINE):
        *whole, begun = re.split(rb"\r\n?|\n", begun + block)
        yield from whole
        count += len(whole)
        if len(begun) > LONGEST_LINE:
            raise UsageError(
                f"--from {name}: line {count + 1} has over {LONGEST_LINE:,} bytes; give a file "
                "with one source a line"
            )
    yield begun


def _text(line: bytes) -> str:
    """The line as text. A file name may hold bytes that are no UTF-8; in
    any other line they are replaced."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        name = os.fsdecode(line)
        return name if _is_there(name.strip()) else line.decode("utf-8", "replace")


def _source(line: str) -> str | None:
    text = line.strip().removeprefix("\ufeff").lstrip()
    if not text or text[0] in "#;]":
        return None
    comments = [found.start() for found in re.finditer(r"\s#", text)]
    if comments and not re.match(r"(?!file:)[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        for end in (len(text), *reversed(comments)):  # a file may be named "Lesson #3.mp4"
            if _is_there(text[:end].rstrip()):
                return text[:end].rstrip()
    return text[: comments[0]].rstrip() if comments else text


def _is_there(name: str) -> bool:
    address = re.match(r"file://(localhost)?(?=/)", name, re.IGNORECASE)
    name = unquote(name[address.end() :]) if address else name
    try:
        return Path(name).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # no file name, or an unknown user's home
        return False


def _no_text(name: str) -> UsageError:
    return UsageError(f"--from {name}: is not UTF-8 text; save it as UTF-8, one source a line")
