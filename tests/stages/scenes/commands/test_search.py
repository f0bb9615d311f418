"""`penstock search` on work folders as runs leave them, and in the middle of a run."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine import UsageError
from engine.cli.main import main
from stages.scenes.commands.search import seconds_of
from stages.sinks.sqlite import SqliteSink
from tests.stages.search.test_searching import KITCHEN, STREET


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A work folder in the middle of a run: one video is in the results, one in its own folder."""
    work = tmp_path_factory.mktemp("work")
    with SqliteSink(work / "search.db") as sink:
        sink.write(KITCHEN)
        sink.write(STREET)
    for place in ("scenes/kitchen/scenes/000002", "items/street/collect/scenes/000000"):
        (work / place).mkdir(parents=True)
        (work / place / "thumbnail.jpg").write_bytes(b"jpeg")
    return work


def asked(*words: object) -> Result:
    return CliRunner().invoke(main, ["search", *map(str, words)])


def test_a_hit_has_video_scene_time_snippet_and_thumbnail(folder):
    told = asked(folder, "chop", "onions")
    assert told.exit_code == 0
    first, second = told.output.splitlines()
    assert first == "kitchen  scene 2-3  0:20  speech: Chopping onions makes you cry."
    assert second.strip() == str(folder / "scenes/kitchen/scenes/000002/thumbnail.jpg")
    assert "items/street/collect" in asked(folder, "dog").output


def test_json_is_for_machines(folder):
    [hit] = json.loads(asked(folder, "dog", "--json", "--in", "objects").output)
    assert hit["video"] == "street"
    assert hit["title"] == "Street"
    assert hit["scenes"] == [0, 0]
    assert (hit["start"], hit["end"], hit["time"]) == (0, 10, 0)
    assert hit["in"] == "objects"
    assert hit["snippet"] == "dog"
    assert hit["thumbnail"].endswith("thumbnail.jpg")
    none = asked(folder, "--json", "nowhere")
    assert (none.exit_code, none.stdout) == (0, "[]\n")


def test_options_narrow_it_down(folder):
    assert "scene 3  " in asked(folder, "onions", "--after", "0:20").output
    for name in ("street", "Street", "https://example.com/street.mp4", "street.mp4"):
        assert "dog" in asked(folder, "dog", "--video", name).output
    assert len(json.loads(asked(folder, "--json", "--limit", "1", "the onions dog").output)) == 1
    nothing = asked(folder, "dog", "--in", "speech")
    assert (nothing.exit_code, nothing.output) == (0, "penstock: nothing was found\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["missing", "dog"], "missing is not there"),
        (["{empty}", "dog"], "no search.db to search"),
        (["{folder}", "dog", "--video", "stret"], "did you mean 'street'?"),
        (["{folder}", "*"], "no word to look for"),
        (["{folder}", "dog", "--after", "noon"], "write seconds, or a time like 1:30"),
        (["{folder}"], "Missing argument 'WORDS...'"),
        (["{empty}/file.txt", "dog"], "no database, or is damaged"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, tmp_path, words, told):
    (tmp_path / "file.txt").write_text("no database" * 100)
    given = [word.format(folder=folder, empty=tmp_path) for word in words]
    answer = asked(*given)
    assert answer.exit_code == 2
    assert told in answer.output
    assert len(answer.output.splitlines()) == 1


def test_text_from_elsewhere_does_not_steer_the_terminal(tmp_path):
    from tests.stages.sinks.records import said, scene, video

    with SqliteSink(tmp_path / "search.db") as sink:
        sink.write(video("odd", scene(0, speech=said("an \x1b[31m evil onion"))))
    assert "\x1b" not in asked(tmp_path, "onion").output.replace("\x1b[1m", "").replace(
        "\x1b[0m", ""
    )


def test_times_are_read_as_people_write_them():
    assert [seconds_of(text) for text in ("90", "1:30", "1:02:30.5")] == [90, 90, 3750.5]
    for wrong in ("", "1:", "-5", "1:2:3:4", "nan"):
        with pytest.raises(UsageError):
            seconds_of(wrong)
