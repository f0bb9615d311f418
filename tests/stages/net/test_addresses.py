"""What a person may type, and which addresses count as private."""

from pathlib import Path

import pytest

from engine import UsageError
from stages.net.addresses import (
    canonical_source,
    host_of,
    is_private,
    literal_address,
    local_path,
    may_follow,
)

VIDEO = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"


@pytest.mark.parametrize(
    ("typed", "source"),
    [
        ("  https://example.com/a.mp4\n", "https://example.com/a.mp4"),
        ("HTTPS://Example.COM/A.mp4", "https://example.com/A.mp4"),
        ("https://example.com/a#t=10", "https://example.com/a"),
        ("https://example.com", "https://example.com/"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("http://[::1]:8000/a", "http://[::1]:8000/a"),
        ("http://me:Secret@Example.com/a", "http://me:Secret@example.com/a"),
        ("https://example.com/a?utm_source=x&id=7&UTM_medium=y", "https://example.com/a?id=7"),
        ("https://example.com/a?utm_source=x", "https://example.com/a"),
        ("https://example.com/a?b=%20c&d", "https://example.com/a?b=%20c&d"),
        ("https://youtu.be/dQw4w9WgXcQ?si=abc", VIDEO),
        ("https://www.youtube.com/shorts/dQw4w9WgXcQ", VIDEO),
        ("https://www.youtube.com/embed/dQw4w9WgXcQ?start=3", VIDEO),
        ("https://m.youtube.com/watch?v=dQw4w9WgXcQ", VIDEO),
        ("https://youtube.com/watch?t=9&v=dQw4w9WgXcQ&list=PLx&index=2", VIDEO),
        ("https://www.youtube.com/playlist?list=PLx", "https://www.youtube.com/playlist?list=PLx"),
        ("https://www.youtube.com/@someone/videos", "https://www.youtube.com/@someone/videos"),
        (
            "https://notyoutube.com/watch?v=dQw4w9WgXcQ",
            "https://notyoutube.com/watch?v=dQw4w9WgXcQ",
        ),
        (
            "https://vimeo.com/1#__youtubedl_smuggle=%7B%7D",
            "https://vimeo.com/1#__youtubedl_smuggle=%7B%7D",
        ),
    ],
)
def test_addresses_have_one_form(typed: str, source: str) -> None:
    assert canonical_source(typed) == source
    assert canonical_source(source) == source


def test_files_become_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "my film #1 50%.mp4"
    file.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed in (
        str(file),
        f" {file.name} ",
        f"./{file.name}",
        f"~/{file.name}",
        file.as_uri(),
        file.as_uri().replace("file://", "FILE://localhost"),
    ):
        assert canonical_source(typed) == str(file)
    link = tmp_path / "link.mp4"
    link.symlink_to(file)
    assert canonical_source("link.mp4") == str(link)


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("ftp://x", "ftp://x"),
        ("not a url", "not a url"),
        ("", "''"),
        ("/no/such/file.mp4", "/no/such/file.mp4"),
        ("file:///no/such/file.mp4", "/no/such/file.mp4"),
        ("file://elsewhere/a.mp4", "another machine"),
        ("http://", "http://"),
        ("http:///a", "http:///a"),
        ("http://[::1/a", "http://"),
        ("http://example.com:99999/a", "99999"),
        ("/", "folder"),
        ("ytsearch5:cats", "ytsearch5:cats"),
        ("www.youtube.com/watch?v=dQw4w9WgXcQ", "start with http"),
    ],
)
def test_anything_else_is_refused_by_name(typed: str, named: str) -> None:
    with pytest.raises(UsageError) as caught:
        canonical_source(typed)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sources_know_their_host_or_their_file() -> None:
    assert host_of("https://WWW.Example.com:8000/a") == "example.com"
    assert host_of("/a/b.mp4") is None
    assert host_of("http://[broken/") is None
    assert local_path("file:///a/b%20c.mp4") == Path("/a/b c.mp4")
    assert local_path("/a/b.mp4") == Path("/a/b.mp4")
    assert local_path("https://example.com/a.mp4") is None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
        "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", "64:ff9b:1::7f00:1",
        "64:ff9b:1:2::808:808", "fec0::1", "feff::1", "3fff::1", "5f00::1", "2001:db8::1", "100::1",
        "2001:0:7f00:1::ffff:fffe", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1",
        "203.0.113.1", "0.1.2.3", "127.255.255.255", "239.1.1.1", "ff0e::1", "fc00::ffff",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808",
        "2002:808:808::1", "172.32.0.1", "100.128.0.1", "169.253.1.1", "2a00:1450::1",
    ],
)  # fmt: skip
def test_public_addresses(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.1"), ("0x7f000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"), ("017700000001", "127.0.0.1"), ("[::1]", "::1"),
        ("localhost", "127.0.0.1"), ("a.localhost.", "127.0.0.1"), ("example.com", None),
        ("face.com", None), ("", None), ("bücher.example", None), ("100%.example", None),
        ("127.0.0.1%2e", "127.0.0.1"), ("127%2E0.0.1", "127.0.0.1"), ("%31%32%37.1", "127.0.0.1"),
        ("[fe80::1%25eth0]", "fe80::1%eth0"), ("[fec0::1]", "fec0::1"),
        ("LOCALHOST%2e", "127.0.0.1"), ("①②⑦.⓪.⓪.①", "127.0.0.1"),
        ("１２７。０．０｡１", "127.0.0.1"),
    ],
)  # fmt: skip
def test_hosts_that_spell_out_an_address(host: str, address: str | None) -> None:
    assert literal_address(host) == address


@pytest.mark.parametrize(
    ("url", "led_to", "follows"),
    [
        ("https://one.example/a", "https://one.example:443/b", True),
        ("http://one.example/a", "https://one.example/b", True),
        ("https://one.example/a", "http://one.example/b", False),
        ("http://one.example:8080/a", "https://one.example/b", False),
        ("https://one.example/a", "https://two.example/a", False),
        ("https://one.example/a", "https://www.one.example/a", False),
    ],
)
def test_a_password_follows_to_its_own_server_alone(url: str, led_to: str, follows: bool) -> None:
    assert may_follow(url, led_to) is follows
