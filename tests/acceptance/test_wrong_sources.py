"""Addresses, lists and files that are none: refused, or recorded as failed among the good ones."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.demo.server import File, MediaServer
from tests.acceptance.command import SHAPES, crawl, penstock, settings
from tests.acceptance.outcome import check_dataset, check_no_scratch, tables, videos
from tests.acceptance.refused import check_refused

Serve = Callable[..., list[str]]

URL = "http://example.invalid/video.mp4"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ftp://example.com/a.mp4", "only http and https addresses and local files are taken"),
        ("mailto:someone@example.com", "neither a file that exists nor an address"),
        ("example.com/a.mp4", "addresses start with http:// or https://"),
        ("missing.mp4", "neither a file that exists nor an address"),
        ("~nobody-of-this-name/a.mp4", "a user who is not known here"),
        ("a" * 5000, "File name too long"),
        ("", "is empty; give one, or leave it out"),
        ("http://", "is not an http or https address"),
        ("http://[::1", "is not an address: Invalid IPv6 URL"),
        ("http://example.com:port/", "is not an address: Port"),
        ("file://elsewhere/a.mp4", "names a file on another machine"),
    ],
)
def test_a_source_that_is_none(source: str, words: str) -> None:
    line = check_refused(penstock("crawl", URL, source), words)
    assert source[:100] in line


def test_a_folder_is_no_source(tmp_path: Path) -> None:
    check_refused(penstock("crawl", tmp_path), str(tmp_path), "is a folder")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory"),
        (os.urandom(100) + b"\0" + os.urandom(100), "is not UTF-8 text"),
        ("http://example.com/ä\n".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_a_list_that_cannot_be_read(content: bytes | None, words: str) -> None:
    if content is not None:
        Path("urls.txt").write_bytes(content)
    check_refused(penstock("crawl", "--from", "urls.txt"), "--from urls.txt", words)


def test_a_folder_is_no_list() -> None:
    check_refused(penstock("crawl", "--from", "."), "--from .", "Is a directory")


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n\n# yet\n", "\ufeff# nothing yet\r\n"])
def test_an_empty_list_is_a_crawl_of_nothing(tmp_path: Path, content: str) -> None:
    Path("urls.txt").write_text(content, encoding="utf-8")
    ran = crawl("--from", "urls.txt", out=tmp_path / "work")
    assert ran.code == 0, ran.said
    assert "0 videos ended" in ran.out
    check_dataset(tmp_path / "work")


def test_a_list_from_any_editor(tmp_path: Path, clips: list[Path], serve: Serve) -> None:
    """With a mark at its start, blanks around its lines, and the ends of lines of three systems."""
    urls = serve(clips[:2])
    text = f"\ufeff# my list\r\n\r\n  {urls[0]}\t\n{urls[1]}\r{urls[0]}"
    Path("urls.txt").write_bytes(text.encode())
    ran = crawl("--from", "urls.txt", out=tmp_path / "work")
    assert ran.code == 0, ran.said
    assert sorted(videos(tmp_path / "work")) == sorted(clip.name for clip in clips[:2])


GARBAGE = {
    "not an address": ("unreadable", "addresses start with http:// or https://"),
    "<html><body>": ("unreadable", "No such file or directory"),
    "http://[bad": ("unsupported", "Invalid IPv6 URL"),
    "http://": ("unsupported", "is not an http or https address"),
    "ftp://example.com/a.mp4": ("unsupported", "is not an http or https address"),
    "javascript:alert(1)": ("unreadable", "No such file or directory"),
    "~nobody-of-this-name/a.mp4": ("unreadable", "No such file or directory"),
    "x" * 3000: ("unreadable", "File name too long"),
    "\x1b[31mred\x07": ("unreadable", "No such file or directory"),
    "a\0b": ("unreadable", "null"),
    "caf\udce9.mp4": ("unreadable", "No such file or directory"),
}


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_garbage_among_good_lines_fails_alone(
    tmp_path: Path, clips: list[Path], serve: Serve, how: str
) -> None:
    urls, work = serve(clips[:2]), tmp_path / "work"
    lines = [urls[0], *GARBAGE, urls[1]]
    content = "\n".join(lines).encode("utf-8", "surrogateescape")
    # A list with a zero byte near its start is no text, but further down it is a slip.
    content = b"# a list\n" * 1000 + content
    Path("urls.txt").write_bytes(content)
    sets = {"limits.failure_budget": 1}
    if how == "file":
        ran = crawl("--from", "urls.txt", out=work, sets=sets)
    else:
        ran = crawl("--from", "-", out=work, sets=sets, stdin=content)
    assert ran.code == 1, ran.said
    assert "Traceback" not in ran.said
    assert "\x1b" not in ran.said
    found = {row["source"]: row for row in tables(work)["videos"]}
    assert {found[url]["outcome"] for url in urls} == {"done"}
    bad = [row for row in found.values() if row["outcome"] == "failed"]
    assert len(bad) == len(GARBAGE)
    for line, (kind, words) in GARBAGE.items():
        row = found[line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")]
        assert (row["stage"], row["kind"]) == ("download", kind)
        assert words in row["reason"]
    check_dataset(work)
    check_no_scratch(work)


def test_files_that_are_no_videos_fail_and_say_why(tmp_path: Path, clips: list[Path]) -> None:
    text, empty, page = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "page.mp4"
    text.write_text("this is not a video\n")
    empty.touch()
    page.write_text("<html><body>not found</body></html>\n")
    ran = crawl(text, empty, page, clips[0], out=tmp_path / "work")
    assert ran.code == 1, ran.said
    assert "Traceback" not in ran.said
    found = videos(tmp_path / "work")
    assert found[clips[0].name]["outcome"] == "done"
    for file in (text, empty, page):
        row = found[file.name]
        assert (row["outcome"], row["kind"]) == ("failed", "not_video")
        assert row["reason"].startswith(f"{file}: ")
        assert row["reason"] in ran.said


def test_a_quiet_run_says_what_failed_in_one_line(tmp_path: Path, clips: list[Path]) -> None:
    text, work = tmp_path / "text.mp4", tmp_path / "the work"
    text.write_text("this is not a video\n")
    ran = crawl(text, clips[0], "--quiet", out=work)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"penstock: 1 video failed; penstock status '{work}' says why\n"
    ran = crawl(clips[0], "--quiet", out=work)
    assert (ran.code, ran.said) == (0, "")


def test_files_whose_names_are_no_utf_8_are_taken_too(tmp_path: Path, clips: list[Path]) -> None:
    good, bad = tmp_path / os.fsdecode(b"caf\xe9.mp4"), tmp_path / os.fsdecode(b"th\xe9.mp4")
    good.write_bytes(clips[0].read_bytes())
    bad.write_text("no video\n")
    ran = crawl(good, bad, "--log-json", "log.jsonl", out=tmp_path / "work")
    assert ran.code == 1, ran.said
    found = videos(tmp_path / "work")
    assert found["caf?.mp4"]["outcome"] == "done"
    assert found["th?.mp4"]["kind"] == "not_video"
    check_dataset(tmp_path / "work")
    assert penstock("status", tmp_path / "work").code == 0
    assert penstock("status", tmp_path / "work", "--json").code == 0


def test_private_addresses_are_refused_unless_allowed(
    tmp_path: Path, clips: list[Path], server: MediaServer
) -> None:
    server.routes["/clip.mp4"] = File(clips[0])
    port = server.url("").rpartition(":")[2]
    sources = [
        server.url("/clip.mp4"),
        f"http://localhost:{port}/clip.mp4",
        f"http://0x7f000001:{port}/clip.mp4",
        f"http://[::1]:{port}/clip.mp4",
        "http://10.0.0.1/clip.mp4",
        "http://169.254.169.254/latest/meta-data",
    ]
    ran = penstock("crawl", *sources, "--out", tmp_path / "work", *settings(SHAPES))
    assert ran.code == 1, ran.said
    assert not server.requests
    for row in videos(tmp_path / "work").values():
        assert (row["outcome"], row["kind"]) == ("failed", "private_address")
        assert "unless stages.download.allow_private is true (--allow-private)" in row["reason"]
