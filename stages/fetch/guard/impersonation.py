"""Requests that look like a browser's, for sites that refuse all others: curl_cffi behind yt-dlp's
own switch for it, with the same guard and limits as all other requests.
"""

import functools
import ipaddress
import re
import socket
import urllib.request
from email.message import Message
from importlib import metadata
from typing import Any
from urllib.parse import urljoin, urlsplit

from engine import Cancelled, ConfigError, Ending
from stages.fetch.guard.content_length import say_once
from stages.fetch.guard.curl_transfer import Asked, CurlFailed, Transfer
from stages.fetch.guard.responses import Body, Watch
from stages.net.addresses import PrivateAddress, Refused, literal_address, may_follow

INSTALL = "pip install 'penstock[impersonate]'"

MOST_REDIRECTS = 10

_REDIRECTS = (301, 302, 303, 307, 308)


def missing() -> str | None:
    """The reason why impersonation is not available here; None where it is."""
    try:
        version = metadata.version("curl_cffi")
    except metadata.PackageNotFoundError:
        return "curl_cffi is not installed"
    try:
        from curl_cffi._wrapper import lib
        from yt_dlp.networking import _curlcffi  # noqa: F401 - refuses versions unknown to it
    except ImportError:
        return f"curl_cffi {version} is not one that this yt-dlp takes"
    return None if hasattr(lib, "curl_multi_poll") else f"curl_cffi {version} is too old"


def target(text: str) -> Any:
    """yt-dlp's name for a browser: CLIENT[-VERSION][:OS[-VERSION]], or "any". Raises ConfigError
    where this machine has no such target."""
    from yt_dlp.networking.impersonate import ImpersonateTarget

    why = missing()
    if why is not None:
        raise ConfigError(f"stages.download.impersonate: {why}; install what it needs: {INSTALL}")
    from yt_dlp.networking._curlcffi import CurlCFFIRH

    name = text.strip().lower()
    targets = CurlCFFIRH.supported_targets
    try:
        wanted = ImpersonateTarget() if name == "any" else ImpersonateTarget.from_str(name)
    except ValueError:
        wanted = None
    if not name or wanted is None or not any(wanted in one for one in targets):
        clients = ", ".join(sorted({one.client for one in targets}))
        raise ConfigError(
            f"stages.download.impersonate: {text!r} is no browser that can be impersonated here: "
            f'"any", or one of {clients}, with a version or not ("{targets[0].client}-'
            f'{targets[0].version}")'
        )
    return wanted


def pin(host: str, port: int, refused: Refused) -> list[str]:
    """The addresses of a host that may be connected to. Raises PrivateAddress where all are
    refused, OSError where the host cannot be looked up."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(place[0]).partition("%")[0] for *_, place in found]
    allowed = [one for one in dict.fromkeys(addresses) if not refused(one)]
    if not allowed:
        raise PrivateAddress(host, addresses[0])
    return [f"[{one}]" if ":" in one else one for one in allowed]


def _spelt_out(url: str) -> tuple[str, str, int]:
    """An address in a form with only one possible reading, its host and its port. Raises ValueError
    where it has none."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if ":" in host:
        host = str(ipaddress.IPv6Address(host.partition("%")[0]))
    elif not re.fullmatch(r"[A-Za-z0-9._~-]+", host):
        raise ValueError(f"{host!r} is no host name")
    place = f"[{host}]" if ":" in host else host
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{place}:{port}{parts.path or '/'}{query}", host, port


def _bytes_of(data: Any) -> bytes | None:
    if data is None or isinstance(data, bytes):
        return data
    return bytes(data.read()) if hasattr(data, "read") else b"".join(data)


def _lines(headers: dict[str, str]) -> list[str]:
    """The headers as libcurl takes them: one without a value ends in a semicolon. No "Expect"."""
    lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
    return [*(re.sub(r"[\r\n\0]", " ", line) for line in lines), "Expect:"]


@functools.cache
def curl_handler() -> type[Any] | None:
    """yt-dlp's handler for requests that look like a browser's: `curl_handler()(refused, watch,
    …)`; None where impersonation is not available."""
    if missing() is not None:
        return None
    from curl_cffi.const import CurlECode
    from yt_dlp.networking import Response, _curlcffi, _helper, exceptions
    from yt_dlp.networking.impersonate import ImpersonateRequestHandler
    from yt_dlp.utils.networking import normalize_url, select_proxy

    errors = {
        CurlECode.PEER_FAILED_VERIFICATION: exceptions.CertificateVerifyError,
        CurlECode.SSL_CONNECT_ERROR: exceptions.SSLError,
        CurlECode.PROXY: exceptions.ProxyError,
        CurlECode.COULDNT_RESOLVE_PROXY: exceptions.ProxyError,
    }

    def failed(error: Exception, transfer: Transfer | None = None) -> Exception:
        """The error in yt-dlp's classes. Other than network errors travel in a RequestError."""
        if isinstance(error, (Ending, Cancelled, PrivateAddress, ValueError)):
            return exceptions.RequestError(cause=error)  # type: ignore[no-any-return]
        code = error.code if isinstance(error, CurlFailed) else None
        if code == CurlECode.PARTIAL_FILE and transfer is not None:
            return exceptions.IncompleteRead(transfer.received, cause=error)  # type: ignore
        return errors.get(code, exceptions.TransportError)(cause=error)  # type: ignore[no-any-return]

    class CurlResponse(Response):  # type: ignore[misc]
        def __init__(self, transfer: Transfer, url: str, watch: Watch) -> None:
            super().__init__(Body(transfer, watch), url, {}, transfer.status, transfer.reason)
            self._transfer = transfer
            for name, value in transfer.headers:
                self.headers.add_header(name, value)
            say_once(self.headers)

        def read(self, amt: int | None = None) -> bytes:
            if self.fp.closed:
                return b""
            try:
                block: bytes = self.fp.read(amt)
                failure = self._transfer.failure
                if failure is not None and (amt is None or not block):
                    raise failure
            except OSError as error:
                self.close()
                raise failed(error, self._transfer) from error
            except (Ending, Cancelled):
                self.close()
                raise
            if amt is None or (len(block) < amt and failure is None):
                self.close()
            return block

    class CurlCFFIRH(ImpersonateRequestHandler):  # type: ignore[misc]
        RH_NAME = "curl_cffi"
        _SUPPORTED_URL_SCHEMES = ("http", "https")
        _SUPPORTED_FEATURES = _curlcffi.CurlCFFIRH._SUPPORTED_FEATURES
        _SUPPORTED_PROXY_SCHEMES = _curlcffi.CurlCFFIRH._SUPPORTED_PROXY_SCHEMES
        _SUPPORTED_IMPERSONATE_TARGET_MAP = _curlcffi.CurlCFFIRH._SUPPORTED_IMPERSONATE_TARGET_MAP

        def __init__(self, refused: Refused, watch: Watch, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._refused = refused
            self._watch = watch

        def _validate(self, request: Any) -> None:
            super()._validate(request)
            if self._get_request_target(request) is None:
                # Nor in place of urllib, where that has failed in a way of its own.
                raise exceptions.UnsupportedRequest("it is to look like no browser")

        def _check_extensions(self, extensions: Any) -> None:
            super()._check_extensions(extensions)
            for name in ("impersonate", "cookiejar", "timeout", "legacy_ssl", "keep_header_casing"):
                extensions.pop(name, None)

        def _send(self, request: Any) -> Any:
            """No error but yt-dlp's own: after any other it would try the next handler, and show
            itself to the site as what it is."""
            try:
                return self._follow(request)
            except exceptions.RequestError:
                raise
            except Exception as error:
                raise failed(error) from error

        def _follow(self, request: Any) -> Any:
            """Follows redirects, as yt-dlp's handler for urllib does."""
            url, method, data = request.url, request.method, _bytes_of(request.data)
            headers = self._get_impersonate_headers(request)
            for hop in range(MOST_REDIRECTS + 1):
                response = self._ask(request, url, method, headers, data)
                response.extensions["impersonate"] = self._get_request_target(request)
                led_to = response.get_header("Location")
                if response.status not in _REDIRECTS or not led_to:
                    break
                led_to = normalize_url(urljoin(url, _text(led_to)))
                if hop == MOST_REDIRECTS or urlsplit(led_to).scheme not in ("http", "https"):
                    raise exceptions.HTTPError(response, redirect_loop=hop == MOST_REDIRECTS)
                response.close()
                left = {"cookie"} if may_follow(url, led_to) else {"cookie", "authorization"}
                after = _helper.get_redirect_method(method, response.status)
                if after != method:
                    data = None
                    left |= {"content-length", "content-type"}
                headers = {name: one for name, one in headers.items() if name.lower() not in left}
                url, method = led_to, after
            if not 200 <= response.status < 300:
                raise exceptions.HTTPError(response)
            return response

        def _ask(self, request: Any, url: str, method: str, headers: Any, data: Any) -> Any:
            jar = self._get_cookiejar(request)
            if not any(name.lower() == "cookie" for name in headers):
                cookies = jar.get_cookie_header(url)
                headers = headers | {"Cookie": cookies} if cookies else headers
            asked = self._asked(request, url, method, headers, data)
            transfer = Transfer(asked, self._watch)
            try:
                transfer.begin()
                if not asked.proxy and self._refused(transfer.connected_to):
                    raise PrivateAddress(urlsplit(url).hostname or "", transfer.connected_to)
            except BaseException:
                transfer.close()
                raise
            response = CurlResponse(transfer, url, self._watch)
            jar.extract_cookies(_WithHeaders(response.headers), urllib.request.Request(url))
            return response

        def _asked(self, request: Any, url: str, method: str, headers: Any, data: Any) -> Asked:
            proxy = select_proxy(url, self._get_proxies(request)) or None
            address = literal_address(urlsplit(url).hostname or "")
            if address is not None and self._refused(address):
                raise PrivateAddress(urlsplit(url).hostname or "", address)
            plain, host, port = _spelt_out(url)
            pinned = [] if proxy else pin(host, port, self._refused)
            if proxy:  # it looks names up itself; see ProxyHandler of the guard
                proxy = re.sub(r"^socks(4|5)://", _looked_up_there, proxy, flags=re.IGNORECASE)
            return Asked(
                method=method,
                url=plain,
                port=port,
                headers=_lines(headers),
                data=data,
                browser=self._SUPPORTED_IMPERSONATE_TARGET_MAP[self._get_request_target(request)],
                pinned=pinned,
                proxy=proxy,
                timeout=self._calculate_timeout(request),
                verify=self.verify,
                options=self._options(),
            )

        def _options(self) -> dict[str, Any]:
            names = {
                "SSLCERT": "client_certificate",
                "SSLKEY": "client_certificate_key",
                "KEYPASSWD": "client_certificate_password",
            }
            given = {option: self._client_cert.get(name) for option, name in names.items()}
            if self.source_address:
                given["INTERFACE"] = f"host!{self.source_address}"
            return {option: value for option, value in given.items() if value}

    return CurlCFFIRH


class _WithHeaders:
    """The part of a response that a cookie jar reads."""

    def __init__(self, headers: Message) -> None:
        self._headers = headers

    def info(self) -> Message:
        return self._headers


def _text(header: str) -> str:
    """A header's value, decoded as UTF-8 if it is UTF-8; it was read byte by byte."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _looked_up_there(scheme: re.Match[str]) -> str:
    return "socks4a://" if scheme[1] == "4" else "socks5h://"
