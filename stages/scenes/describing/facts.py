"""What a scene's record says of it, in the few words that a model, or a sentence, needs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.scenes.describing.answers import UndescribedScenes

MOST_SAID = 4000
"""Characters of spoken words that are told of a scene, at most."""


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """{"start", "end"} in seconds and, where something was found, "captions", "objects" (class and
    most at once), "sounds" and "words"."""
    facts: dict[str, Any] = {"start": record["start"], "end": record["end"]}
    found = {
        "captions": _distinct(_values(record.get("captions"), "text")),
        "objects": _objects(record.get("objects")),
        "sounds": _distinct(_values(record.get("sounds"), "label")),
        "words": words_of(record),
    }
    return facts | {name: value for name, value in found.items() if value}


def missing_from(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{"missing", "missing_why"} of a summary: the scenes that have no description, and by the
    reason that their records give."""
    scenes: dict[str, list[int]] = {}
    for record in records:
        if not record.get("description"):
            gaps = (gap["why"] for gap in record.get("gaps", ()) if gap["branch"] == "description")
            scenes.setdefault(next(gaps, "nobody described it"), []).append(record["index"])
    return {
        "missing": tuple(sorted(index for them in scenes.values() for index in them)),
        "missing_why": tuple(
            UndescribedScenes(why=why, scenes=tuple(them)) for why, them in scenes.items()
        ),
    }


def words_of(record: Mapping[str, Any]) -> str:
    """The spoken words, the doubtful ones marked, cut with a "…" where there are very many."""
    said = " ".join(_segments(record.get("speech")))
    return said if len(said) <= MOST_SAID else f"{said[: MOST_SAID - 1]}…"


def _segments(speech: Any) -> Iterator[str]:
    segments = speech.get("segments", ()) if isinstance(speech, Mapping) else ()
    for segment in segments:
        doubtful = segment.get("doubtful", False)
        yield f"[doubtful: {segment['text']}]" if doubtful else segment["text"]


def _objects(found: Any) -> list[dict[str, Any]]:
    lines = found if isinstance(found, list) else []
    return [
        {"class": line["class"], "most_at_once": line.get("most_at_once", 1)}
        for line in lines
        if isinstance(line, Mapping) and "class" in line
    ]


def _values(value: Any, name: str) -> Iterator[str]:
    """The texts in a field, however deep: plain ones, and those of this name."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        inner = value[name] if isinstance(value.get(name), str) else None
        if inner is not None:
            yield inner
        else:
            for deeper in value.values():
                if isinstance(deeper, list | tuple | Mapping):
                    yield from _values(deeper, name)
    elif isinstance(value, list | tuple):
        for deeper in value:
            yield from _values(deeper, name)


def _distinct(texts: Iterator[str]) -> list[str]:
    return [*dict.fromkeys(texts)]
