"""The way to a paid server by the environment: through a proxy or not, and the trusted
certificates.

httpx reads these variables for all addresses at once, and so fails over an entry that does not
concern this server. This module reads only the entries for the one server.
"""

import ipaddress
import os
import re
import ssl
from collections.abc import Collection
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies

import anyio

from engine import UsageError

if TYPE_CHECKING:
    import httpx

PROBE = 10.0
"""Seconds that a server has to answer an empty request."""

_PORTS = {"http": 80, "https": 443}


def open_client(
    url: str, headers: dict[str, str], setting: str = "base_url"
) -> "httpx.AsyncClient":
    """A client for requests to `url`, which `setting` names, with these headers, without limits on
    time or number.

    Raises UsageError, which names the environment variable at fault, where the proxy or the
    certificates cannot be used; and where `url` is no address.
    """
    import httpx

    try:
        httpx.URL(url)
        parts = urlsplit(url)
        _ = parts.port, (parts.hostname or "").encode("idna")  # errors that a connection would meet
    except (httpx.InvalidURL, ValueError) as error:
        raise UsageError(f"{setting} is no address: {error}") from None
    variable, proxy = _proxy(url)
    secure = url.startswith("https:") or (proxy or "").lower().startswith("https:")
    try:
        return httpx.AsyncClient(
            headers=headers,
            proxy=proxy,
            verify=_trusted() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
            timeout=None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )
    except (ValueError, httpx.InvalidURL):
        raise UsageError(
            f"{variable} holds no address of a proxy; correct it, or {_without(url)}"
        ) from None


def _proxy(url: str) -> tuple[str, str | None]:
    """The variable that names a proxy for `url`, and the proxy. ("", None): no proxy."""
    parts = urlsplit(url)
    proxies = getproxies()
    scheme = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if scheme is None or is_direct(url, proxies.get("no", "")):
        return "", None
    name = f"{scheme}_proxy"
    variable = f"the environment variable {name if os.environ.get(name) else name.upper()}"
    proxy = proxies[scheme] if "://" in proxies[scheme] else f"http://{proxies[scheme]}"
    kind = proxy.partition("://")[0].lower()
    if kind.startswith("socks") and find_spec("socksio") is None:
        raise UsageError(
            f"{variable} asks for a SOCKS proxy, which takes a package that is not here: "
            f"pip install 'httpx[socks]', or {_without(url)}"
        )
    return variable, proxy


def _without(url: str) -> str:
    return f"add {urlsplit(url).hostname} to NO_PROXY if it is reached without a proxy"


def is_direct(url: str, no_proxy: str) -> bool:
    """Whether `no_proxy`, a comma-separated list, says that `url` needs no proxy.

    An entry is "*", a name (its subdomains too), ".name" (only those), an address or a network of
    either family, with or without brackets; a port after it and a scheme before it narrow it. Any
    other entry is ignored.
    """
    parts = urlsplit(url)
    port = parts.port or _PORTS.get(parts.scheme)
    host = (parts.hostname or "").rstrip(".")
    for entry in no_proxy.lower().split(","):
        scheme, separator, name = entry.strip().rpartition("://")
        if (not separator or scheme in ("all", parts.scheme)) and _names(name, host, port):
            return True
    return False


def _names(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d+))?(/\d+)?", entry)
    if bracketed:
        name, only_port = bracketed[1] + (bracketed[3] or ""), bracketed[2]
    elif entry.count(":") == 1:
        name, _, only_port = entry.partition(":")
    else:
        name, only_port = entry, None
    if not name or (only_port and (not only_port.isdecimal() or int(only_port) != port)):
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
        return address in ipaddress.ip_network(name.partition("%")[0], strict=False)
    except ValueError:  # one of them is a name
        name = name.removeprefix("*").rstrip(".")
        return host.endswith(name if name.startswith(".") else f".{name}") or host == name


def _trusted() -> ssl.SSLContext:
    """The trusted certificates: those of SSL_CERT_FILE or SSL_CERT_DIR, else certifi's."""
    import certifi

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and folder and not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise _unusable("SSL_CERT_DIR", folder, "no such folder")
    try:
        if not file and folder:
            return ssl.create_default_context(capath=folder)
        return ssl.create_default_context(cafile=file or certifi.where())
    except OSError as error:  # ssl.SSLError is one
        log = os.environ.get("SSLKEYLOGFILE")
        if log and (error.filename == log or not file):
            raise _unusable("SSLKEYLOGFILE", log, error.strerror or "unusable") from None
        if not file:
            raise
        raise _unusable("SSL_CERT_FILE", file, error.strerror or "no certificates") from None


def _unusable(variable: str, value: str, why: str) -> UsageError:
    return UsageError(
        f"the environment variable {variable} names {value}, which cannot be used ({why}); "
        f"correct it or unset it"
    )


async def answers(client: "httpx.AsyncClient", url: str, *, but: Collection[int]) -> bool:
    """Whether a server answers an empty request, which costs nothing, with a status that is none of
    `but`."""
    import httpx

    try:
        with anyio.fail_after(PROBE):
            return (await client.get(url)).status_code not in but
    except (TimeoutError, httpx.RequestError):
        return False
