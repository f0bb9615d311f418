"""Captions: no letter is lost, and all can be read."""

from itertools import pairwise
from pathlib import Path

from stages.lesson.captions import LINE, LINES, captions_of, write_vtt


def test_captions_follow_one_another_and_can_be_read() -> None:
    long = (
        "Where it stands above the sea, the sea rises; and on the far side it rises as well, too."
    )
    said = [(0.3, 0.5, "Hm."), (0.6, 9.0, f"{long} {long}"), (9.5, 10.0, "<End> & all")]
    captions = captions_of(said)
    assert all(one.start < one.end for one in captions)
    assert all(a.end <= b.start for a, b in pairwise(captions))
    lines = [one.text.split("\n") for one in captions]
    assert max(map(len, lines)) == LINES
    assert max(len(line) for one in lines for line in one) <= LINE
    shown = " ".join(one.text.replace("\n", " ") for one in captions)
    assert shown == " ".join(text for *_, text in said)


def test_web_captions_are_escaped(tmp_path: Path) -> None:
    write_vtt(captions_of([(3600.0, 3601.5, "<b> & -->")]), tmp_path / "a.vtt")
    told = (tmp_path / "a.vtt").read_text("utf-8")
    assert "01:00:00.000 --> 01:00:01.500\n&lt;b&gt; &amp; --&gt;" in told
