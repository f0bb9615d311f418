"""A list of sources as `--from` names it: a file or standard input, one source a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.errors import UsageError

BINARY_SHOWS = 4096
"""Bytes of a list in which a file that is no text gives itself away."""


def open_list(name: str) -> Iterator[str]:
    """The lines of a list, read lazily, without blank ones and `#` comments; "-" is stdin.

    Raises UsageError where the file cannot be opened, and where it is no text.
    """
    try:
        if name == "-":
            from engine.feed import standard_input

            return _lines(standard_input())
        file = Path(name).open("rb")  # noqa: SIM115 - read lazily
        begins = file.peek(BINARY_SHOWS)
    except OSError as error:
        raise UsageError(f"--from {name}: {error.strerror}; give a file of URLs") from None
    if b"\0" in begins:
        file.close()
        raise UsageError(f"--from {name}: is not UTF-8 text; save it as UTF-8, one URL a line")
    return _lines(file)


def _lines(file: BinaryIO) -> Iterator[str]:
    with file:
        for block in file:
            for line in block.decode("utf-8", "replace").splitlines():
                text = line.strip().removeprefix("\ufeff")
                if text and not text.startswith("#"):
                    yield text
