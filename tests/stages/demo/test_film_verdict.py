"""The verdict of `penstock demo scenes`: on results that are as planted, and on others."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.demo.answering import scene_in_words, video_in_words
from stages.demo.film import Film
from stages.demo.film_verdict import judge_scenes
from stages.demo.films import FILMS, MODEL
from stages.demo.voice import SENTENCES, seconds_of
from stages.scenes.describing.facts import facts_of
from stages.sinks.sink import VideoRecords
from stages.sinks.sqlite import SqliteSink

Change = Callable[[dict[str, Any]], None]


def segments(film: Film, start: int, end: int) -> Iterator[dict[str, Any]]:
    """What is said between these seconds; a sentence over a cut is split between its words."""
    for at, name in film.said.items():
        first, last = max(at, start), min(at + seconds_of(name), end)
        if first < last:
            words, long = SENTENCES[name].split(), seconds_of(name)
            of, to = (round(len(words) * (one - at) / long) for one in (first, last))
            yield {"start": first, "end": last, "text": " ".join(words[of:to])}


def record_of(film: Film, index: int, start: int, end: int) -> dict[str, Any]:
    """The record of a scene that is as planted."""
    take = film.takes[index]
    said = [*segments(film, start, end)]
    record: dict[str, Any] = {
        "video": film.name,
        "index": index,
        "start": start,
        "end": end,
        "sound": None if film.silent else {"loudness": -20.0, "peak": -10.0},
        "captions": [{"timestamp": start, "text": take.caption}] * 3,
        "objects": [
            {"class": kind, "ids": number, "most_at_once": number}
            for kind, number in take.objects.items()
        ],
        "sounds": [{"label": take.hears, "score": 0.9}] if take.hears else [],
        "speech": None if film.silent else {"segments": said},
        "made_by": {"description": f"openai:{MODEL}"},
    }
    return record | {"description": scene_in_words(facts_of(record))}


def results(out: Path, film: str = "", scene: int = 0, change: Change = lambda one: None) -> Path:
    """Results that are as planted, but for one scene."""
    (out / "scenes").mkdir(parents=True)
    lines, videos = [], []
    with SqliteSink(out / "search.db") as sink:
        for one in FILMS:
            records = [
                record_of(one, index, start, end)
                for index, (start, end, _) in enumerate(one.spans())
            ]
            if one.name == film:
                change(records[scene])
            told = video_in_words([{"scene": index} for index in range(len(records))])
            video = {"video": one.name, "source": f"/films/{one.file}"} | told
            sink.write(VideoRecords(one.name, video, records))
            lines += records
            videos.append(video)
    for name, table in (("scenes.jsonl", lines), ("videos.jsonl", videos)):
        (out / "scenes" / name).write_text("".join(f"{json.dumps(line)}\n" for line in table))
    return out


def wrong(out: Path) -> list[tuple[str, str, str]]:
    return [
        (section.title, check.name, check.found)
        for section in judge_scenes(out)
        for check in section.checks
        if not check.as_planted
    ]


def test_what_is_as_planted_is_found_so(tmp_path: Path) -> None:
    assert wrong(results(tmp_path / "out")) == []


def test_a_word_over_a_cut_belongs_to_one_scene_as_a_whole(tmp_path: Path) -> None:
    def earlier(record: dict[str, Any]) -> None:
        segment = record["speech"]["segments"][0]
        assert segment["start"] == record["start"] == 7
        segment["start"] -= 0.2

    assert wrong(results(tmp_path / "out", "orchard", 2, earlier)) == []


def in_another_scene(record: dict[str, Any]) -> None:
    record["speech"]["segments"][0]["start"] = record["start"] - 2
    record["speech"]["segments"][0]["end"] = record["start"] - 0.5


def another_cut(record: dict[str, Any]) -> None:
    record["end"] += 1


def another_caption(record: dict[str, Any]) -> None:
    record["captions"] = [{"timestamp": 0, "text": "a red circle above a red circle"}] * 3


def one_more_object(record: dict[str, Any]) -> None:
    record["objects"][0]["ids"] += 1


def nothing_heard(record: dict[str, Any]) -> None:
    record["sounds"] = []


def another_word(record: dict[str, Any]) -> None:
    record["speech"]["segments"][0]["text"] = "Our goat leaves in November."


def too_late(record: dict[str, Any]) -> None:
    record["speech"]["segments"][0]["start"] += 1


def nothing_told(record: dict[str, Any]) -> None:
    record["description"] = None


@pytest.mark.parametrize(
    ("change", "scene", "expected"),
    [
        (another_cut, 0, [("Cuts", "harbour", "5 9 12 17")]),
        (another_caption, 2, [("Captions", "harbour", "12 of 15")]),
        (one_more_object, 1, [("Objects", "harbour", "4 of 5")]),
        (nothing_heard, 0, [("Sounds", "harbour", "nothing, noise, clicks")]),
        (another_word, 1, [("Words", "harbour", "12 of 18, 2 others")]),
        (too_late, 1, [("Words", "harbour", "18 of 18, elsewhere: boat")]),
        (in_another_scene, 1, [("Words", "harbour", "18 of 18, elsewhere: boat, letter")]),
        (nothing_told, 3, [("Descriptions", "harbour", "4 of 5 scenes, 3 chapters")]),
    ],
)
def test_what_is_otherwise_is_marked(
    tmp_path: Path, change: Change, scene: int, expected: list[tuple[str, str, str]]
) -> None:
    found = wrong(results(tmp_path / "out", "harbour", scene, change))
    assert [one for one in found if one[0] not in ("Search", "Descriptions")] == [
        one for one in expected if one[0] != "Descriptions"
    ]
    assert set(expected) <= set(found)


def test_a_film_that_is_not_there_is_no_crash(tmp_path: Path) -> None:
    out = results(tmp_path / "out")
    for name in ("scenes.jsonl", "videos.jsonl"):
        path = out / "scenes" / name
        kept = [line for line in path.read_text().splitlines() if '"orchard"' not in line]
        path.write_text("".join(f"{line}\n" for line in kept))
    found = wrong(out)
    assert {name for _, name, _ in found} == {"orchard"}
    assert {title for title, _, _ in found} >= {"Cuts", "Objects", "Words", "Search"}
