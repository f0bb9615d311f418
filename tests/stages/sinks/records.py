"""Records of scenes, as a pipeline would write them."""

from typing import Any

from stages.sinks.sink import VideoRecords


def scene(index: int, *, video: str = "film", length: float = 10.0, **fields: Any) -> dict:
    """A scene's record with these fields; times follow from its place."""
    return {
        "video": video,
        "index": index,
        "start": index * length,
        "end": (index + 1) * length,
        "speech": None,
        **fields,
    }


def said(*texts: str, start: float = 0.0) -> dict[str, Any]:
    """A scene's speech: a segment of two seconds for each text."""
    segments = [
        {"start": start + 2 * place, "end": start + 2 * place + 2, "text": text}
        for place, text in enumerate(texts)
    ]
    return {"language": "en", "segments": segments}


def video(name: str, *scenes: dict[str, Any], **document: Any) -> VideoRecords:
    whole = {"video": name, "source": f"https://example.com/{name}.mp4", "title": name.title()}
    placed = [
        {"thumbnail": f"{name}/scenes/{one['index']:06}/thumbnail.jpg"} | one | {"video": name}
        for one in scenes
    ]
    return VideoRecords(name, whole | document, placed)
