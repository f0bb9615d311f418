"""What a job's data say: the video that it is about, the profile, and options."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from engine import UsageError

PATH, URL = "videoPath", "url"
PROFILE, OPTIONS, DEADLINE, CANCEL = "profile", "options", "deadline", "cancel"


def source_of(data: object, roots: Sequence[Path]) -> str:
    """The source that a job names: a file of this machine below one of `roots`, by `videoPath`, or
    an address, by `url`. Raises UsageError, in one line, for anything else.

    A link that leads out of all roots is not below one of them.
    """
    if not isinstance(data, Mapping):
        raise UsageError(f"a job's data are an object with {PATH!r} or {URL!r}")
    given = [name for name in (PATH, URL) if name in data]
    if len(given) != 1:
        raise UsageError(f"a job has either {PATH!r} or {URL!r}")
    value: Any = data[given[0]]
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{given[0]!r} is no text, or empty")
    return _file(value, roots) if given[0] == PATH else _address(value)


def profile_of(data: object) -> str | None:
    """The profile that a job names; None where it names none. Raises UsageError."""
    name = data.get(PROFILE) if isinstance(data, Mapping) else None
    if name is not None and not isinstance(name, str):
        raise UsageError(f"{PROFILE!r} is no text")
    return name


def options_of(data: object) -> object:
    """The options that a job gives, unchecked."""
    given = data.get(OPTIONS) if isinstance(data, Mapping) else None
    return {} if given is None else given


def deadline_of(data: object) -> float | None:
    """When nobody waits for the job any longer, in seconds since the epoch; None where that is not
    said. Raises UsageError."""
    given = data.get(DEADLINE) if isinstance(data, Mapping) else None
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not isfinite(given):
        raise UsageError(f"{DEADLINE!r} is a number of milliseconds since the epoch")
    return given / 1000


def is_cancelled(data: object) -> bool:
    """Whether the job's data say that nobody wants it any more."""
    return isinstance(data, Mapping) and data.get(CANCEL) is True


def _address(value: str) -> str:
    if value.partition("://")[0].lower() not in ("http", "https"):
        raise UsageError(f"{URL!r} begins with http:// or https://")
    return value


def _file(value: str, roots: Sequence[Path]) -> str:
    if "\0" in value:
        raise UsageError(f"{PATH!r} is no path")
    path = Path(value).resolve()
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        named = "name the folder of the videos with --root" if not roots else "see --root"
        raise UsageError(f"{PATH!r} is below no folder that jobs may name files from; {named}")
    if not path.is_file():
        raise UsageError(f"{PATH!r}: there is no such file on this machine")
    return str(path)
