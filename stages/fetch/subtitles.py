"""Subtitles that come with a video: those of its page, or a file beside a local one.

They are asked for by yt-dlp's own options `writesubtitles` and `writeautomaticsub`, and lie beside
the video as `video.LANGUAGE.vtt` or `.srt`; info.json names them under `subtitles`.
"""

import errno
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import Throttled, checkpoint, shown
from stages.net.errors import classify

logger = logging.getLogger("penstock.download")

SUBTITLE_OPTIONS = ("writesubtitles", "writeautomaticsub")

SUFFIXES = ("vtt", "srt")
"""The formats that are read, the better first."""

_NO_SUBTITLES = {"live_chat", "rechat", "danmaku"}
"""What sites list among them though it is what viewers write."""

_ORIGINAL = "-orig"
"""How YouTube marks the language that is spoken: its other captions are translations of those."""


@dataclass(frozen=True, slots=True)
class FetchedSubtitles:
    """A file beside the video, its language (None where nobody says), and whether a machine wrote
    it."""

    file: str
    language: str | None
    automatic: bool

    def as_dict(self) -> dict[str, Any]:
        """As info.json has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class WantedSubtitles:
    """What is asked for: whether people's, or a machine's, and in which language."""

    manual: bool
    automatic: bool
    language: str | None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "WantedSubtitles | None":
        """By yt-dlp's options; None where they ask for none."""
        manual = bool(options.get("writesubtitles"))
        automatic = bool(options.get("writeautomaticsub"))
        languages = options.get("subtitleslangs") or [None]
        return cls(manual, automatic, languages[0]) if manual or automatic else None


def fetch_subtitles(
    downloader: Any, found: Mapping[str, Any], wanted: WantedSubtitles, folder: Path
) -> FetchedSubtitles | None:
    """Fetch the best subtitles that the look-up `found` lists to `folder`; None where it lists none
    that are wanted, or, with a line in the log, where they do not come.

    Raises Throttled where the server says to slow down.
    """
    chosen = choose_subtitles(found, wanted)
    if chosen is None:
        return None
    language, entry, is_automatic = chosen
    name = f"video.{_tag(language)}.{entry['ext']}"
    try:
        if entry.get("data") is not None:
            (folder / name).write_text(entry["data"], encoding="utf-8")
        else:
            downloader.dl(str(folder / name), dict(entry), subtitle=True)
        if (folder / name).is_file():
            return FetchedSubtitles(name, language.removesuffix(_ORIGINAL), is_automatic)
        why = "the server sent none"
    except Exception as error:  # a server may fail in any way, and the video is here
        checkpoint()
        source = shown(str(found.get("webpage_url") or ""))
        ending = classify(error, source)
        full = isinstance(ending, OSError) and ending.errno == errno.ENOSPC
        if isinstance(ending, Throttled) or full:
            raise ending from error
        why = " ".join(str(ending).split())
    (folder / f"{name}.part").unlink(missing_ok=True)
    logger.warning("the subtitles (%s) of %s did not come: %s", language, found.get("id"), why)
    return None


def choose_subtitles(
    found: Mapping[str, Any], wanted: WantedSubtitles
) -> tuple[str, Mapping[str, Any], bool] | None:
    """The language, yt-dlp's entry, and whether a machine wrote them: people's before a machine's,
    in the language that is wanted, or else that is spoken. A translation by a machine is none."""
    manual = _readable(found.get("subtitles")) if wanted.manual else {}
    automatic = _readable(found.get("automatic_captions")) if wanted.automatic else {}
    spoken = wanted.language or found.get("language") or _original(automatic)
    own = next(iter(_in_language(list(manual), spoken)), None)
    if own is None and spoken is None:
        own = next(iter(manual), None)
    if own is not None:
        return own, manual[own], False
    heard = _heard(list(automatic), spoken)
    if heard is not None:
        return heard, automatic[heard], True
    if wanted.language is None and manual:
        first = next(iter(manual))
        return first, manual[first], False
    return None


def beside(video: Path, wanted: WantedSubtitles) -> tuple[Path, str | None] | None:
    """The subtitles in a file beside a local video, and their language: talk.en.vtt, talk.srt."""
    tags: dict[Path, str | None] = {}
    for path in sorted(video.parent.iterdir()):
        named = re.fullmatch(
            rf"{re.escape(video.stem)}(?:\.([A-Za-z0-9_-]+))?\.({'|'.join(SUFFIXES)})",
            path.name,
            re.IGNORECASE,
        )
        if named is not None and path.is_file():
            tags[path] = named[1]
    tagged = {tag: path for path, tag in tags.items() if tag is not None}
    plain = [path for path, tag in tags.items() if tag is None]
    for tag in _in_language(list(tagged), wanted.language):
        return tagged[tag], tag
    if plain:
        return plain[0], wanted.language
    if wanted.language is None and tagged:
        tag = next(iter(tagged))
        return tagged[tag], tag
    return None


def copy_beside(video: Path, wanted: WantedSubtitles, out: Path) -> FetchedSubtitles | None:
    """Copy the subtitles beside a local video into `out`, where there are any."""
    found = beside(video, wanted)
    if found is None:
        return None
    path, language = found
    name = f"video.{_tag(language or 'und')}{path.suffix.lower()}"
    try:
        shutil.copyfile(path, out / name)
    except OSError as error:
        logger.warning("the subtitles %s cannot be read: %s", path, error.strerror)
        return None
    return FetchedSubtitles(name, language, False)


def _readable(listed: Any) -> dict[str, Mapping[str, Any]]:
    """For each language the entry in the format that is read best."""
    chosen = {}
    for language, entries in (listed or {}).items():
        if language in _NO_SUBTITLES:
            continue
        for suffix in SUFFIXES:
            fitting = [one for one in entries if one.get("ext") == suffix]
            if fitting:
                chosen[str(language)] = fitting[-1]
                break
    return chosen


def _in_language(languages: Sequence[str], wanted: str | None) -> Iterator[str]:
    """Those of a language, "en" also being "en-GB": the plainest name first."""
    if wanted is None:
        return
    spoken = re.split(r"[-_]", wanted.lower())[0]
    same = [one for one in languages if re.split(r"[-_]", one.lower())[0] == spoken]
    yield from sorted(same, key=lambda one: (one.lower() != wanted.lower(), len(one)))


def _original(automatic: Iterable[str]) -> str | None:
    """The language that is spoken, where a machine's captions say so."""
    marked = (one.removesuffix(_ORIGINAL) for one in automatic if one.endswith(_ORIGINAL))
    return next(marked, None)


def _heard(languages: Sequence[str], spoken: str | None) -> str | None:
    """Of a machine's captions those of what is spoken."""
    originals = [one for one in languages if one.endswith(_ORIGINAL)]
    if spoken is None:
        return languages[0] if len(languages) == 1 else None
    return next(iter(_in_language(originals or languages, spoken)), None)


def _tag(language: str) -> str:
    """A language as part of a file's name."""
    return re.sub(r"[^\w-]", "_", language)[:40]
