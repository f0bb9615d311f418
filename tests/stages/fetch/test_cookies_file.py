"""Cookies files: what is taken, and what is said of those that are not."""

from pathlib import Path

import pytest

from engine import ConfigError
from stages.demo.server import BareStatus, Exchange, File, MediaServer
from tests.stages.downloading import fetch, make_clip

HEADER = b"# Netscape HTTP Cookie File\n"
ROW = b"127.0.0.1\tFALSE\t/\tFALSE\t4000000000\tsession\ts3cret\n"


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (HEADER + b"\n" + ROW.replace(b"\t", b" "), 3, "has 1 of 7 fields .* spaces in place of"),
        (HEADER + ROW + ROW.replace(b"\tFALSE\t/", b"\t/"), 3, "has 6 of 7 fields"),
        (HEADER + ROW[:-1] + b"\ts3cret", 2, "has 8 of 7 fields"),
        (HEADER + b"#HttpOnly_" + ROW.replace(b"\t/\t", b"\t"), 2, "has 6 of 7 fields"),
        (HEADER + ROW.replace(b"4000000000", b"s3cret"), 2, "when it expires"),
        (HEADER + ROW.replace(b"4000000000", b"9" * 400), 2, "when it expires"),
        (HEADER + b"." + ROW, 2, "second field has to be TRUE"),
        (HEADER + ROW.replace(b"FALSE", b"TRUE", 1), 2, "second field has to be TRUE"),
        (HEADER + ROW + ROW.replace(b"s3cret", b"s3cret\xe9"), 3, "no UTF-8 text"),
        ((HEADER + ROW).decode().encode("utf-16"), 1, "no UTF-8 text"),
        (ROW, 1, "has to be '# Netscape HTTP Cookie File'"),
        (b"", 1, "has to be '# Netscape HTTP Cookie File'"),
        (b'[{"name": "session", "value": "s3cret"}]', 1, "is JSON"),
    ],
)
def test_a_fault_is_named_by_its_line_and_shows_no_secret(
    tmp_path: Path,
    content: bytes,
    line: int,
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        fetch(tmp_path, "http://127.0.0.1:9/a.mp4", cookies=cookies)
    message = str(caught.value)
    assert f"{cookies}, line {line}: " in message
    assert "s3cret" not in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content",
    [
        HEADER + ROW,
        b"\xef\xbb\xbf" + HEADER + ROW,
        (HEADER + ROW).replace(b"\n", b"\r\n"),
        b"# HTTP Cookie File\n# a note\n\n   \n#HttpOnly_" + ROW[:-1],
        HEADER + ROW.replace(b"4000000000", b"0"),
        HEADER + ROW.replace(b"4000000000", b""),
        HEADER + ROW.replace(b"4000000000", b"4000000000.5"),
        HEADER + b".example.com\tTRUE\t/\tTRUE\t0\tother\t\n" + ROW,
    ],
)
def test_what_is_taken_is_sent(tmp_path: Path, content: bytes) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_bytes(content)
    clip = make_clip(tmp_path / "clip.mp4")

    def guarded(exchange: Exchange) -> None:
        sent = "session=s3cret" in (exchange.headers["Cookie"] or "")
        (File(clip) if sent else BareStatus(403))(exchange)

    with MediaServer({"/a.mp4": guarded}) as server:
        out = fetch(tmp_path, server.url("/a.mp4"), cookies=cookies)
    assert (out / "video.mp4").exists()
    assert cookies.read_bytes() == content


def test_no_copy_lies_anywhere_that_a_killed_process_would_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    cookies = tmp_path / "cookies.txt"
    cookies.write_bytes(HEADER + ROW)
    clip, seen = make_clip(tmp_path / "clip.mp4"), []

    def look(exchange: Exchange) -> None:
        seen.append(list(temporary.rglob("*")))
        File(clip)(exchange)

    with MediaServer({"/a.mp4": look}) as server:
        fetch(tmp_path, server.url("/a.mp4"), cookies=cookies)
    assert seen
    assert not any(seen)
