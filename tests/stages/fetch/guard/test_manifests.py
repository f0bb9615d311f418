"""How many pieces a manifest stands for."""

import gzip
from pathlib import Path

import pytest

from engine import Permanent
from stages.demo.server import Exchange, MediaServer, Text
from stages.fetch.guard.manifests import pieces_in
from tests.stages.downloading import fetch

MPD = '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"{}>{}</MPD>'


def dash(pieces: str, *, lasts: str = "PT1H", inner: str = "", period: str = "") -> str:
    video = f'<Representation id="v" bandwidth="1" width="64" height="48">{inner}</Representation>'
    sets = f'<AdaptationSet mimeType="video/mp4">{pieces}{video}{video}</AdaptationSet>'
    body = f"<Period{period}>{sets}</Period>"
    return MPD.format(f' mediaPresentationDuration="{lasts}"', body)


def template(inner: str = "", **attributes: object) -> str:
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    return f'<SegmentTemplate media="$Number$.m4s" {text}>{inner}</SegmentTemplate>'


TIMELINE = '<SegmentTimeline><S t="0" d="2" r="9"/><S d="1"/></SegmentTimeline>'
ISM = (
    '<SmoothStreamingMedia Duration="100"><StreamIndex Type="video"><QualityLevel/><QualityLevel/>'
    '<c d="2" r="{}"/><c d="1"/></StreamIndex></SmoothStreamingMedia>'
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (dash(template(duration=2)), 3600),
        (dash(template(duration=180_000, timescale=90_000)), 3600),
        (dash(template(duration=180_000), inner=template(timescale=90_000)), 3600),
        (dash(template(duration=2), period=' duration="PT10S"'), 10),
        (dash(template(TIMELINE, duration=2)), 22),
        (dash("", inner="<BaseURL>a.mp4</BaseURL>"), 0),
        (dash(template(duration=1), lasts="PT10000000000S"), 2e10),
        (dash(template(duration="1e-300", timescale="1e300")), float("inf")),
        (dash(template(TIMELINE.replace('"9"', '"4000000000"'))), 8_000_000_004),
        (dash(template(duration="x", timescale="-1")), 0),
        (ISM.format(9), 20),
        (ISM.format(10**10), 2 * 10**10 + 2),
        ("<!doctype html><html><p>MPD</p></html>", 0),
        ("<MPD", 0),
        ("", 0),
    ],
)
def test_pieces_are_counted(text: str, count: float) -> None:
    assert pieces_in(text.encode()) == pytest.approx(count)


@pytest.mark.parametrize("kind", ["application/dash+xml", "text/xml", "packed"])
def test_a_manifest_of_too_many_pieces_fails_before_they_are_made(
    tmp_path: Path, kind: str
) -> None:
    bomb = dash(template(duration=1), lasts="PT10000000000S")

    def packed(exchange: Exchange) -> None:
        body = gzip.compress(bomb.encode())
        exchange.send(200, "text/xml", body, content_encoding="gzip")

    with MediaServer({"/v": packed if kind == "packed" else Text(bomb, kind)}) as server:
        with pytest.raises(Permanent, match=r"a manifest of 2e\+10 pieces") as caught:
            fetch(tmp_path, server.url("/v"))
        assert caught.value.kind == "oversized"
