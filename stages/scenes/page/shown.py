"""What the page shows of a scene, and of a video: JSON-able, without what is empty."""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.scenes.describing.composed import COMPOSED
from stages.scenes.page.catalogue import ShownVideo
from stages.sinks.texts import segments_of


def scene_shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """A scene of which this is the record. A description that was composed of the rest is left out:
    the rest is shown."""
    described = record.get("description") or {}
    if (record.get("made_by") or {}).get("description") == COMPOSED:
        described = {}
    captions = (caption["text"] for caption in record.get("captions") or ())
    whole = {
        "index": record["index"],
        "start": record["start"],
        "end": record["end"],
        "picture": record.get("thumbnail"),
        "description": described.get("description"),
        "captions": list(dict.fromkeys(captions)),
        "tags": described.get("tags"),
        "people": described.get("people"),
        "actions": described.get("actions"),
        "setting": described.get("setting"),
        "text": described.get("text_seen"),
        "objects": [[one["class"], one["most_at_once"]] for one in record.get("objects") or ()],
        "sounds": [one["label"] for one in record.get("sounds") or ()],
        "speech": list(_speech(record)),
        "gaps": [[one["branch"], one["why"]] for one in record.get("gaps") or ()],
        "unheard": [[one["start"], one["end"]] for one in record.get("speech_without_words") or ()],
    }
    return {name: value for name, value in whole.items() if value not in (None, "", [], ())}


def _speech(record: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Each sentence: when, what, and a third entry where it may be made up."""
    for one in segments_of(record):
        said: list[Any] = [one["start"], one["text"]]
        yield [*said, True] if one.get("doubtful") else said


def video_shown(video: ShownVideo) -> dict[str, Any]:
    """A video in the list."""
    return {
        "id": video.item.id,
        "title": video.title,
        "moment": video.moment,
        "length": video.length,
        "count": video.count,
    }


def summary_shown(video: ShownVideo) -> dict[str, Any]:
    """What a model wrote of the whole video."""
    told = video.summary()
    chapters = [[one["start"], one["title"]] for one in told.get("chapters") or ()]
    return {"summary": told.get("summary"), "chapters": chapters} if told else {}
