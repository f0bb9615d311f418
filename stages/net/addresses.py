"""The addresses that may be fetched, and the canonical form of each."""

import ipaddress
import os
import re
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit, urlunsplit

from engine import UsageError, shown

MOST_ADDRESS = 8000
"""The most characters of an address. Servers take fewer, and a page may name one of megabytes."""

SMUGGLED = "__youtubedl_smuggle="
"""The beginning of a fragment in which yt-dlp passes data, such as a referrer, to a site's code."""

Refused = Callable[[str], bool]
"""Whether connections to an IP address are refused."""

_YOUTUBE_HOSTS = ("youtube.com", "www.youtube.com", "m.youtube.com")
_YOUTUBE_ID = r"([\w-]{11})"
_IDEOGRAPHIC_STOP = {ord("。"): "."}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FILE_URL = re.compile(r"file://(?P<machine>[^/?#]*)(?P<path>[^?#]*)", re.IGNORECASE)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_GLOBAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "::/96",  # IPv4-compatible, out of use: the last 32 bits may be any host's
        "::ffff:0:0:0/96",  # IPv4-translated, the same
        "64:ff9b:1::/48",  # NAT64 within a network
        "3fff::/20",  # for documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
)
"""Networks that some version of Python, or all, wrongly counts as global."""


class PrivateAddress(ValueError):
    """A connection to a private address was requested, and refused before it was made."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} is at the private address {address}")
        self.address = address


def canonical_source(text: str) -> str:
    """The source for the text that a person typed: a canonical http(s) URL, or a file's path.

    URLs lose their fragment and tracking parameters, and all spellings of a YouTube video's address
    become one; paths and file:// URLs become absolute paths. Raises UsageError for anything else,
    and for a file that is not there.
    """
    text = text.strip()
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if scheme is None or scheme[1].lower() == "file":
        return _existing_file(text)
    if scheme[1].lower() not in ("http", "https"):
        raise UsageError(f"{text!r}: only http and https addresses and local files are taken")
    return canonical_url(text)


def canonical_url(url: str) -> str:
    """The canonical form of an http(s) URL. Raises UsageError for any other text."""
    if len(url) > MOST_ADDRESS:
        start = shown(url[:MOST_ADDRESS])[:100]
        raise UsageError(f"{start}…: an address has {MOST_ADDRESS} characters at most")
    url = re.sub(r"[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", url.strip())
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is not an http or https address")
    if "[" in parts.netloc and not _is_bracketed(parts):
        raise UsageError(f"{url!r} is not an address: {parts.hostname!r} is no host name")
    return _youtube_video(parts) or urlunsplit(
        (
            parts.scheme,
            _place(parts, port),
            parts.path or "/",
            _without_tracking(parts.query),
            parts.fragment if parts.fragment.startswith(SMUGGLED) else "",
        )
    )


def local_path(source: str) -> Path | None:
    """The path that a source names, or None for a URL."""
    if parts := _FILE_URL.match(source):
        return Path(unquote(parts["path"]))
    return None if "://" in source else Path(source)


def machine_of(source: str) -> str | None:
    """The machine that a file:// URL names, None for this one."""
    parts = _FILE_URL.match(source)
    return parts["machine"] if parts and parts["machine"].lower() not in ("", "localhost") else None


def host_of(url: str) -> str | None:
    """The host of a URL, in lower case and without "www."; None for a file."""
    try:
        host = None if local_path(url) else urlsplit(url).hostname
    except ValueError:
        return None
    return host and host.removeprefix("www.")


def is_private(address: str) -> bool:
    """Whether an IP address belongs to this machine or a private network rather than the internet.

    That is any address that is not globally reachable (private, loopback, link-local, shared,
    unspecified, reserved) or is multicast, and an IPv6 address that wraps such an IPv4 one.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if wrapped is None and ip in _NAT64:
            wrapped = ipaddress.IPv4Address(ip.packed[-4:])
        if wrapped is not None:
            return is_private(str(wrapped))
        if any(ip in network for network in _NOT_GLOBAL):
            return True
    return not ip.is_global or ip.is_multicast


def literal_address(host: str) -> str | None:
    """The IP address that a host spells out, in any notation (127.1, 0x7f000001, also localhost),
    with any digits and escapes that a proxy may accept; None for a name to be looked up."""
    host = unicodedata.normalize("NFKC", unquote(host)).translate(_IDEOGRAPHIC_STOP)
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None


def _existing_file(text: str) -> str:
    if text.lower().startswith("file://"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{text!r} names a file on another machine; give a path on this one")
        text = unquote(parts.path)
    try:
        path = Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - keeps symbolic links
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:
        raise UsageError(f"{text[:200]!r} cannot be read: {error.strerror}") from None
    except RuntimeError:
        raise UsageError(f"{text!r} names the home of a user who is not known here") from None
    if not text or not exists:
        raise UsageError(
            f"{text!r} is neither a file that exists nor an address; "
            "addresses start with http:// or https://"
        )
    if is_folder:
        raise UsageError(f"{text!r} is a folder; name the video files in it")
    return str(path)


def _place(parts: SplitResult, port: int | None) -> str:
    user, at, _ = parts.netloc.rpartition("@")
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return f"{user}{at}{host}" + (
        f":{port}" if port is not None and port != _DEFAULT_PORTS[parts.scheme] else ""
    )


def has_possible_host(url: str) -> bool:
    """Whether the host name of an http(s) address is valid. Nothing is looked up."""
    name = urlsplit(url).hostname or ""
    if ":" in name:
        return True
    try:
        name = name.encode("idna").decode()
    except UnicodeError:
        return False
    last = name.rstrip(".").rpartition(".")[2]
    number = re.fullmatch(r"\d+|0x[0-9a-f]*", last) is not None
    if re.search(r"[\x00-\x20\x7f<>\"`{}|^\\]", unquote(name)) or len(name) > 254:
        return False
    return not number or literal_address(name) is not None


def _is_bracketed(parts: SplitResult) -> bool:
    """Whether the brackets hold an IPv6 address and nothing stands beside them: urlsplit ignores
    anything there."""
    place = parts.netloc.rpartition("@")[2]
    return re.fullmatch(r"\[[^\[\]]*:[^\[\]]*\](:\d*)?", place) is not None or "[" not in place


def _without_tracking(query: str) -> str:
    return "&".join(part for part in query.split("&") if not part.lower().startswith("utm_"))


def _youtube_video(parts: SplitResult) -> str | None:
    host = (parts.hostname or "").lower()
    found = None
    if host in ("youtu.be", "www.youtu.be"):
        found = re.fullmatch(f"/{_YOUTUBE_ID}/?", parts.path)
    elif host in _YOUTUBE_HOSTS and parts.path == "/watch":
        found = re.fullmatch(_YOUTUBE_ID, parse_qs(parts.query).get("v", [""])[0])
    elif host in _YOUTUBE_HOSTS:
        found = re.fullmatch(f"/(?:shorts|embed|live|v)/{_YOUTUBE_ID}/?", parts.path)
    return f"https://www.youtube.com/watch?v={found[1]}" if found else None


def origin(url: str) -> tuple[str, str, int | None]:
    """The scheme, host and port of an address: a password in it belongs to these."""
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or {"http": 80, "https": 443}.get(parts.scheme),
    )


def may_follow(url: str, led_to: str) -> bool:
    """Whether a password may follow a redirect: to the same server, or to its encrypted port."""
    before, after = origin(url), origin(led_to)
    upgraded = (before[0], before[2], after[0], after[2]) == ("http", 80, "https", 443)
    return before == after or (upgraded and before[1] == after[1])
