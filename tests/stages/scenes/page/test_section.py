"""The section of scenes: what a file holds, and what the live page is answered."""

import json
import re
import shutil
from pathlib import Path

import pytest

from engine import UsageError
from stages.scenes.page import embedded
from stages.scenes.pipeline import scenes
from tests.stages.scenes.page.films import HOSTILE, context, get, served


def elements(body: str) -> dict[str, object]:
    """The elements of JSON in a section, by id."""
    pattern = r'<script type="application/json" id="([\w-]+)">(.*?)</script>'
    return {name: json.loads(text) for name, text in re.findall(pattern, body, re.DOTALL)}


def section(work: Path, *, live: bool = False):
    assert scenes.sections is not None
    [made] = scenes.sections(context(work, live=live))
    return made


def test_a_file_holds_every_scene_with_its_picture(folder):
    made = section(folder.work)
    held = elements(made.body)
    listed = held["scenes-listed"]["videos"]
    assert [(one["title"], one["count"]) for one in listed] == [("crème <i>", 2), ("talk", 2)]
    first, second = held["scenes-of-1"]["scenes"]
    assert first["description"] == "A dog waits at a gate."
    assert "speech" not in first
    assert second["speech"][:2] == [
        [2.4, "First we chop the onions."],
        [3.2, f"Then {HOSTILE}", True],
    ]
    assert second["objects"] == [["person", 2]]
    assert second["sounds"] == ["Sizzle"]
    assert second["gaps"] == [["speech", "the server was down"]]
    assert second["unheard"] == [[5.0, 5.5]]
    assert all(one.startswith("data:image/jpeg;base64,") for one in held["pictures-of-1"])
    assert held["scenes-listed"]["pictures"] == {"shown": 4, "scenes": 4}
    assert "<img" not in made.body, "text from outside ends no element"


def test_a_live_page_holds_none_of_it(folder):
    made = section(folder.work, live=True)
    assert made.body == '<div class="scenes-page" data-live></div>\n'
    assert made.script


def test_a_file_stays_small_and_says_what_it_lacks(folder, monkeypatch):
    monkeypatch.setattr(embedded, "MOST_PICTURES", 2)
    held = elements(section(folder.work).body)
    assert [bool(one) for one in held["pictures-of-0"] + held["pictures-of-1"]] == [True, False] * 2
    assert held["scenes-listed"]["pictures"] == {"shown": 2, "scenes": 4}

    monkeypatch.setattr(embedded, "MOST_PICTURE_BYTES", 100)
    assert elements(section(folder.work).body)["scenes-listed"]["pictures"]["shown"] == 0

    monkeypatch.setattr(embedded, "MOST_WORDS", 700)
    held = elements(section(folder.work).body)
    assert [one.get("absent") for one in held["scenes-listed"]["videos"]] == [None, "no room"]
    assert "scenes-of-1" not in held


def test_a_damaged_video_hides_no_other(folder, tmp_path):
    work = tmp_path / "work"
    shutil.copytree(folder.work, work, symlinks=True)
    lines = work / "items" / folder.talk / "collect" / "scenes.jsonl"
    first, last = lines.read_text().splitlines()
    lines.write_text(f"{first[:-20]}\n{last}\n")
    (work / "items" / folder.silent / "collect/scenes/000000/thumbnail.jpg").unlink()
    held = elements(section(work).body)
    assert [one.get("absent") for one in held["scenes-listed"]["videos"]] == [None, "unreadable"]
    assert [bool(one) for one in held["pictures-of-0"]] == [False, True]


def test_a_video_with_many_scenes_is_light(folder, monkeypatch):
    """75 scenes of an hour, 40 sentences each: about 5 kB a scene without its picture."""
    from stages.scenes.page.shown import scene_shown

    word = {"start": 1.0, "end": 1.2, "word": "onions"}
    segments = [{"start": n, "end": n + 1, "text": "We chop it all. " * 4, "words": [word] * 12}
                for n in range(40)]  # fmt: skip
    record = {"index": 3, "start": 0, "end": 48, "speech": {"segments": segments}}
    assert len(json.dumps(scene_shown(record))) < 40 * 85
    assert len(json.dumps(record)) > 5 * len(json.dumps(scene_shown(record)))


def test_the_live_page_is_answered(folder):
    with served(folder.work) as client:
        listed = get(client, "videos").json()
        assert [one["title"] for one in listed["videos"]] == ["crème <i>", "talk"]
        assert (listed["total"], listed["scenes"]) == (2, 4)
        assert all(one["plays"] for one in listed["videos"])
        assert len(get(client, "videos", **{"from": 1, "count": 1}).json()["videos"]) == 1

        told = get(client, "scenes", video=folder.talk, **{"from": 1}).json()["scenes"]
        assert [one["index"] for one in told] == [1]
        picture = get(client, "picture", video=folder.talk, file=told[0]["picture"])
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:2] == b"\xff\xd8"

        page = client.get("").text
        assert "sections.js" in page
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
        assert policy is not None
        assert "media-src &#39;self&#39;" in policy[1]

        found = get(client, "search", words="chop").json()
        [hit] = found["hits"]
        assert (hit["title"], hit["time"], hit["in"]) == ("talk", 2.4, "speech")
        assert hit["found"] == ["First we ", "chop", " the onions."]
        assert hit["plays"]
        assert get(client, "search", words="chop", **{"in": "objects"}).json()["hits"] == []
        assert len(get(client, "search", words="creme").json()["hits"]) == 1


def test_the_video_is_sent_in_ranges(folder):
    with served(folder.work) as client:
        whole = get(client, "video", video=folder.talk)
        some = get(client, "video", {"Range": "bytes=100-199"}, video=folder.talk)
        beyond = get(client, "video", {"Range": "bytes=99999999-"}, video=folder.talk)
    content = folder.file.read_bytes()
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["cross-origin-resource-policy"] == "same-origin"
    assert (some.status_code, some.content) == (206, content[100:200])
    assert some.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert beyond.status_code == 416


def test_nothing_else_is_sent(folder):
    with served(folder.work) as client:
        for video in ("../../etc", "..", "", "nobody", f"{folder.talk}/../{folder.silent}"):
            assert get(client, "video", video=video).status_code == 404
            assert get(client, "scenes", video=video).status_code == 404
        for file in (
            "../../../penstock.db",
            "../download/info.json",
            "/etc/passwd",
            "scenes.jsonl",
        ):
            assert get(client, "picture", video=folder.talk, file=file).status_code == 404
        assert get(client, "picture", video=folder.talk, file="scenes/999/a.jpg").status_code == 404
        assert get(client, "passwd").status_code == 404
        for path in (
            "ask/../penstock.db",
            "ask/%2e%2e%2fpenstock.db",
            "ask/video/../x",
            "penstock.db",
        ):
            assert client.get(path).status_code == 404
        for site in ("cross-site", "same-site"):
            assert get(client, "videos", {"Sec-Fetch-Site": site}).status_code == 403
        assert get(client, "videos", {"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"words": "*"}, "no word to look for"),
        ({"words": "a" * 1001}, "1000 characters at most"),
        ({"words": "dog", "in": "dreams"}, "search in one of speech, objects"),
        ({"words": "dog", "question": "videos", "from": "-1"}, "give a number"),
    ],
)
def test_questions_without_sense_are_told_so(folder, values, told):
    question = values.pop("question", "search")
    assert scenes.answer is not None
    with pytest.raises(UsageError, match=told):
        scenes.answer(context(folder.work, live=True), question, values)
