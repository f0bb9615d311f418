"""The way to a vision server, in environments that were made for others."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from engine import Item, UsageError
from stages.calls.route import is_direct, open_client
from tests.stages.describing import describe, kept, picture
from tests.stages.vision_server import sentence_on, serving

VARIABLES = [
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"),
]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "environment",
    [
        {"NO_PROXY": "localhost,127.0.0.1,[::1]"},
        {"no_proxy": "localhost,fd07:b51a::/64,[fe80::1%eth0]:80,:,[", "HTTP_PROXY": ""},
        {"ALL_PROXY": "socks5://127.0.0.1:1", "NO_PROXY": "127.0.0.0/8"},
        {"HTTP_PROXY": "http://[", "NO_PROXY": "*"},
        {"HTTPS_PROXY": "socks4://127.0.0.1:1"},
        {"SSL_CERT_FILE": "/nonexistent/cert.pem"},
        {"SSL_CERT_DIR": "/nonexistent", "SSLKEYLOGFILE": "/nonexistent/log"},
    ],
)
def test_what_the_server_does_not_need_does_not_stop_it(
    tmp_path: Path,
    make_item: Callable[..., Item],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    item = make_item("a", filter=kept([picture(1)]))
    with serving() as server:
        (lines,) = describe(tmp_path, [item], backend="openai", base_url=server.origin)
    assert lines[0]["description"] == sentence_on(picture(1))


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"ALL_PROXY": "socks5://me:secret@127.0.0.1:1"}, "ALL_PROXY asks for a SOCKS proxy"),
        ({"https_proxy": "socks4://127.0.0.1:1"}, "https_proxy asks for a SOCKS proxy"),
        ({"HTTPS_PROXY": "ftp://me:secret@[::1]"}, "HTTPS_PROXY holds no address of a proxy"),
        ({"HTTPS_PROXY": "http://[::1"}, "HTTPS_PROXY holds no address of a proxy"),
        ({"SSL_CERT_FILE": "/nonexistent/cert.pem"}, "SSL_CERT_FILE names /nonexistent/cert.pem"),
        ({"SSL_CERT_FILE": "/dev/null"}, "SSL_CERT_FILE names /dev/null"),
        ({"SSL_CERT_DIR": "/nonexistent"}, "SSL_CERT_DIR names /nonexistent"),
        ({"SSLKEYLOGFILE": "/nonexistent/log"}, "SSLKEYLOGFILE names /nonexistent/log"),
    ],
)
def test_what_the_server_needs_and_cannot_have_is_named_in_a_line(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str
) -> None:
    monkeypatch.setattr("stages.calls.route.find_spec", lambda name: None)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"the environment variable {told}") as error:
        open_client("https://vision.example/v1", {})
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["http://a..b/v1", "http://h:99999/v1", f"http://{'a' * 70}.b/v1"])
def test_what_is_no_address_is_a_mistake_of_the_settings(url: str) -> None:
    with pytest.raises(UsageError, match="base_url"):
        open_client(url, {})


def test_certificates_and_proxies_that_are_there_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import certifi

    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "other.example,[::1]")
    anyio.run(open_client("https://vision.example/v1", {}).aclose)
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", f"/nonexistent:{tmp_path}")
    anyio.run(open_client("https://vision.example/v1", {}).aclose)


def test_a_proxy_is_asked_in_the_servers_place(
    tmp_path: Path, make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item("a", filter=kept([picture(1)]))
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.origin)
        settings = {"backend": "openai", "base_url": "http://vision.example/v1"}
        (lines,) = describe(tmp_path, [item], **settings)
    assert lines[0]["description"] == sentence_on(picture(1))
    assert proxy.requests[0].path == "http://vision.example/v1/chat/completions"


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("http://[::1]:8000/v1", "[::1]", True),
        ("http://[::1]:8000/v1", "::1", True),
        ("http://[::1]:8000/v1", "[::1]:8001", False),
        ("http://[fd07:b51a::9]/v1", "fd07:b51a::/64", True),
        ("http://[fd07:b51a::9]/v1", "[fd07:b51a::]/64", True),
        ("http://[fd08::9]/v1", "fd07:b51a::/64", False),
        ("http://10.1.2.3/v1", "10.0.0.0/8", True),
        ("http://10.1.2.3/v1", "10.1.2.3:80", True),
        ("http://10.1.2.3/v1", "fd07::/16", False),
        ("http://a.example/v1", "example", True),
        ("http://a.example/v1", ".a.example", False),
        ("http://b.a.example/v1", "*.a.example", True),
        ("http://nota.example/v1", "a.example", False),
        ("http://A.example:81/v1", " a.EXAMPLE:81 , x", True),
        ("http://a.example/v1", "https://a.example", False),
        ("http://a.example/v1", "http://a.example", True),
        ("http://a.example/v1", "b.example, *", True),
        ("http://a.example/v1", "", False),
    ],
)
def test_whom_no_proxy_names(url: str, no_proxy: str, direct: bool) -> None:
    assert is_direct(url, no_proxy) is direct
