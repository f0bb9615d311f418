"""A video in words: chapters that cover its scenes, whatever fits one request."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Permanent
from stages.scenes.describing.answers import ChapterAnswer, VideoAnswer
from stages.scenes.describing.entries import (
    OutlineEntry,
    chapters_of,
    check_chapters,
    entries_of,
    folded,
    in_requests,
)
from stages.vision.forms import UnfitAnswer
from tests.stages.scenes.describing.words import (
    MakeItem,
    data_of,
    summed_up,
    texts_of,
    video_answer,
)
from tests.stages.vision_server import openai, serving


def scenes(count: int, length: int = 40, missing: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Records of scenes of 10 s, described in so many characters."""

    def record(number: int) -> dict[str, Any]:
        text = f"Scene {number} ".ljust(length, ".")
        told = None if number in missing else {"description": text, "tags": ["a", f"b{number}"]}
        times = {"start": 10.0 * number, "end": 10.0 * number + 10}
        return {"index": number, "description": told} | times

    return [record(number) for number in range(count)]


def collected(records: Sequence[dict[str, Any]]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        text = "".join(f"{json.dumps(record)}\n" for record in records)
        (folder / "scenes.jsonl").write_text(text)
        (folder / "info.json").write_text(json.dumps({"title": "A talk"}))

    return write


def check_covers(chapters: Sequence[dict[str, Any]], count: int) -> None:
    assert (chapters[0]["first_scene"], chapters[0]["start"]) == (0, 0)
    assert (chapters[-1]["last_scene"], chapters[-1]["end"]) == (count - 1, 10 * count)
    for before, after in pairwise(chapters):
        assert after["first_scene"] == before["last_scene"] + 1
        assert after["start"] == before["end"]


def test_what_fits_one_request_is_summed_up_in_one(tmp_path: Path, make_item: MakeItem) -> None:
    item = make_item("a", collect=collected(scenes(5, missing=[1, 3])))
    with serving(says=video_answer) as server:
        told = summed_up(tmp_path, item, **openai(server))
        again = summed_up(tmp_path, item, **openai(server))
        [request] = server.requests
    assert told == again
    assert (told["title"], told["tags"], told["made_by"]) == ("A test", ["test"], "openai:eye")
    assert told["missing"] == [1, 3]
    assert [one["title"] for one in told["chapters"]] == ["From 0", "From 2", "From 4"]
    check_covers(told["chapters"], 5)
    assert [one["description"] for one in data_of(request)][1] == "(no description)"


def test_what_does_not_is_summed_up_by_stretches_first(tmp_path: Path, make_item: MakeItem) -> None:
    records = scenes(60, length=400)
    item = make_item("a", collect=collected(records))
    with serving(says=video_answer) as server:
        told = summed_up(tmp_path, item, **openai(server, input_tokens=1000))
        requests = server.requests
    check_covers(told["chapters"], 60)
    sent = [entry["scene"] for one in requests for entry in data_of(one) if "title" not in entry]
    assert sorted(sent) == list(range(60)), "each scene once"
    assert all(len(texts_of(one)[1][1]) < 1500 * 4 for one in requests)
    assert len(requests) > 5


def test_chapters_that_do_not_cover_the_scenes_are_objected_to(
    tmp_path: Path, make_item: MakeItem
) -> None:
    def wrong_first(request: Any) -> str:
        told = json.loads(video_answer(request))
        if len(texts_of(request)) == 2:
            told["chapters"][0]["first"] = 7
        return json.dumps(told)

    item = make_item("a", collect=collected(scenes(4)))
    with serving(says=wrong_first) as server:
        check_covers(summed_up(tmp_path, item, **openai(server))["chapters"], 4)
        assert "no scene has the number 7" in texts_of(server.requests[1])[-1][1]


def test_no_summary_without_an_answer_that_fits(tmp_path: Path, make_item: MakeItem) -> None:
    item = make_item("a", collect=collected(scenes(4)))
    with serving(says=lambda request: "No.") as server, pytest.raises(Permanent) as told:
        summed_up(tmp_path, item, **openai(server))
    assert told.value.kind == "unfit"


@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_without_a_key_chapters_are_groups_of_scenes(
    tmp_path: Path, make_item: MakeItem, count: int
) -> None:
    item = make_item("a", collect=collected(scenes(count, missing=[0])))
    told = summed_up(tmp_path, item)
    assert (told["title"], told["made_by"]) == ("A talk", "composed")
    assert told["missing"] == [0] * bool(count)
    assert len(told["chapters"]) == {0: 0, 1: 1, 3: 1, 100: 8}[count]
    if count:
        check_covers(told["chapters"], count)
        assert told["chapters"][0]["title"].startswith("Scene")


@st.composite
def entries(draw: st.DrawFn) -> list[OutlineEntry]:
    lengths = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=40))
    records = scenes(len(lengths))
    for record, length in zip(records, lengths, strict=True):
        record["description"]["description"] = "x" * length
    return entries_of(records)


@given(entries(), st.integers(1, 3), st.integers(100, 2000))
def test_any_video_comes_to_one_request(
    listed: list[OutlineEntry], each: int, most_tokens: int
) -> None:
    count = len(listed)
    while len(groups := in_requests(listed, most_tokens)) > 1:
        assert [one for group in groups for one in group] == listed
        assert all(len(group) > 1 for group in groups)
        answers = [answer(group, each) for group in groups]
        fewer = folded(listed, answers)
        assert len(fewer) < len(listed)
        listed = fewer
    chapters = [one.model_dump() for one in chapters_of(answer(listed, each), listed)]
    check_covers(chapters, count)


def answer(group: Sequence[OutlineEntry], each: int) -> VideoAnswer:
    found = tuple(
        ChapterAnswer(first=one.first, title="t", summary=one.text or "s") for one in group[::each]
    )
    told = VideoAnswer(title="t", summary="s", tags=(), chapters=found)
    check_chapters(told, group)
    return told


def test_chapters_have_to_begin_with_the_first_scene_and_to_go_on() -> None:
    listed = entries_of(scenes(5))
    for firsts, why in {
        (1, 3): "begin with scene 0",
        (0, 3, 3): "after the one before",
        (0, 3, 2): "after the one before",
        (0, 9): "no scene has the number 9",
    }.items():
        chapters = tuple(ChapterAnswer(first=one, title="t", summary="s") for one in firsts)
        told = VideoAnswer(title="t", summary="s", tags=(), chapters=chapters)
        with pytest.raises(UnfitAnswer, match=why):
            check_chapters(told, listed)
