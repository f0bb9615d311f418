"""Words without a model: composed of what was found, and marked so."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stages.scenes.describing.answers import Description, VideoChapter, VideoSummary
from stages.scenes.describing.facts import facts_of, missing_from
from stages.vision.counted import counted

COMPOSED = "composed"
"""The `made_by` of words that no model wrote."""

CHAPTER_SECONDS = 120.0
MOST_CHAPTERS = 12
MOST_TAGS = 15
_MOST_QUOTED = 30


def compose_description(record: Mapping[str, Any]) -> Description:
    """A sentence for each kind of thing that was found in a scene."""
    facts = facts_of(record)
    objects = facts.get("objects", [])
    sentences = [_sentence(caption) for caption in facts.get("captions", [])]
    if objects:
        counted = [f"{one['class']} ({one['most_at_once']})" for one in objects]
        sentences.append(f"Seen: {', '.join(counted)}.")
    if sounds := facts.get("sounds", []):
        sentences.append(f"Heard: {', '.join(sounds)}.")
    if words := facts.get("words", "").split():
        cut = " …" if len(words) > _MOST_QUOTED else ""
        sentences.append(f'Said: "{" ".join(words[:_MOST_QUOTED])}{cut}".')
    if not sentences:
        length = facts["end"] - facts["start"]
        sentences.append(f"A scene of {length:.1f} s in which nothing was found.")
    tags = dict.fromkeys([*(one["class"].lower() for one in objects), *map(str.lower, sounds)])
    return Description(
        description=" ".join(sentences),
        tags=tuple(tags),
        people=(),
        actions=(),
        setting="",
        text_seen=(),
    )


def compose_summary(title: str | None, records: Sequence[Mapping[str, Any]]) -> VideoSummary:
    """Chapters of consecutive scenes, about equally long, named by their scenes."""
    tags = Counter(tag for one in records for tag in (one.get("description") or {}).get("tags", ()))
    length = records[-1]["end"] - records[0]["start"] if records else 0.0
    return VideoSummary(
        title=title or "Untitled",
        summary=f"A video of {length:.0f} s in {counted(len(records), 'scene')}.",
        tags=tuple(tag for tag, _ in tags.most_common(MOST_TAGS)),
        chapters=tuple(_chapter(group) for group in _groups(records, length)),
        **missing_from(records),
        made_by=COMPOSED,
    )


def _groups(
    records: Sequence[Mapping[str, Any]], length: float
) -> list[Sequence[Mapping[str, Any]]]:
    wanted = min(MOST_CHAPTERS, max(1, round(length / CHAPTER_SECONDS)))
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for record in records:
        middle = (record["start"] + record["end"]) / 2 - records[0]["start"]
        groups.setdefault(int(middle * wanted / length) if length else 0, []).append(record)
    return [*groups.values()]


def _chapter(group: Sequence[Mapping[str, Any]]) -> VideoChapter:
    first, last = group[0], group[-1]
    one = first["index"] == last["index"]
    place = f"{first['index'] + 1}" if one else f"{first['index'] + 1} to {last['index'] + 1}"
    described = [one["description"]["description"] for one in group if one.get("description")]
    return VideoChapter(
        title=f"Scene{'' if one else 's'} {place}",
        summary=" ".join(described[:2]) or "Nothing is known of it.",
        start=first["start"],
        end=last["end"],
        first_scene=first["index"],
        last_scene=last["index"],
    )


def _sentence(text: str) -> str:
    text = text.strip()
    text = f"{text[:1].upper()}{text[1:]}"
    return text if text.endswith((".", "!", "?")) else f"{text}."
