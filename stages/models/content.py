"""What weights hold, as a hash: a name says nothing of it."""

import hashlib
from functools import lru_cache
from pathlib import Path

from engine import UsageError

Seen = tuple[str, int, int]
"""A file's path, size and time of change: as long as they stay, so does its content."""


def content_hash(weights: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it, or of a folder's files and their names.

    A file that this process has read is not read again until it changes. Raises UsageError where
    the weights cannot be read.
    """
    try:
        if not weights.is_dir():
            return _of_file(_seen(weights))
        files = sorted(path for path in weights.rglob("*") if path.is_file())
        hashes = [(path.relative_to(weights).as_posix(), _of_file(_seen(path))) for path in files]
    except OSError as error:
        raise UsageError(
            f"weights {weights} cannot be read ({error.strerror or error}); "
            f"make them readable or set stages.filter.weights"
        ) from error
    text = "".join(f"{digest}  {name}\n" for name, digest in hashes)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _seen(file: Path) -> Seen:
    status = file.stat()
    return str(file.resolve()), status.st_size, status.st_mtime_ns


@lru_cache(maxsize=256)
def _of_file(seen: Seen) -> str:
    with Path(seen[0]).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
