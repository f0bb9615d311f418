"""A YoutubeDL that never connects to a private address, and stops when its attempt is given up.

The address is checked where the socket is connected: after the name was resolved, for every
redirect and every piece of media, so a name that changes between two look-ups gains nothing.
Nothing outside the instance is changed.
"""

import functools
import socket
import threading
import traceback
import urllib.request
import urllib.response
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

from engine import Cancelled, Ending, Permanent, checkpoint
from stages.fetch.guard.impersonation import curl_handler
from stages.fetch.guard.responses import Response, Watch
from stages.fetch.guard.unpacking import unpacked
from stages.fetch.guard.unread import RequestKey, Unread
from stages.net.addresses import PrivateAddress, Refused, literal_address, may_follow, origin

FETCHED_HERE = ("http", "https", "m3u8", "m3u8_native", "http_dash_segments", "ism", "f4m", "mhtml")
"""The protocols whose every byte comes through `YoutubeDL.urlopen`. The others start programs or
open sockets of their own, which this guard could not check."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of a server. `is_measured`: it declares where its body ends."""

    url: str
    content_type: str
    is_measured: bool

    @classmethod
    def of(cls, response: Any) -> "Answer":
        headers = response.headers
        is_measured = "Content-Length" in headers or "Transfer-Encoding" in headers
        return cls(response.url, headers.get_content_type(), is_measured)


PIECES = frozenset(FETCHED_HERE) - {"http", "https"}
"""The protocols that fetch a video in pieces."""


def _connect(
    refused: Refused,
    host: str,
    found: tuple[Any, ...],
    timeout: Any,
    source_address: Any,
) -> socket.socket:
    family, kind, protocol, _, place = found
    if refused(place[0]):
        raise PrivateAddress(host, place[0])
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(timeout)
        if source_address:
            connection.bind(source_address)
        connection.connect(place)
    except OSError:
        connection.close()
        raise
    return connection


def _close_streams(error: BaseException) -> None:
    """Close the files that yt-dlp's segment downloaders leave open when an exception passes through
    them: the exception keeps their frames alive."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        context = frame.f_locals.get("ctx")
        stream = context.get("dest_stream") if isinstance(context, dict) else None
        if stream is not None:
            stream.close()


_making = threading.Lock()


@contextmanager
def _no_plugins() -> Iterator[None]:
    """Keep a YoutubeDL that is made in the block from loading plugins from the home folder and
    Python's path: their code would run here, outside the guard."""
    from yt_dlp.globals import all_plugins_loaded

    with _making:
        before = all_plugins_loaded.value
        all_plugins_loaded.value = True
        try:
            yield
        finally:
            all_plugins_loaded.value = before


@functools.cache
def guarded_youtube_dl() -> type[Any]:
    """The class, made on first use: `guarded_youtube_dl()(options, refused, watch)`."""
    from yt_dlp import YoutubeDL
    from yt_dlp.networking import Request, _helper, _urllib
    from yt_dlp.networking.exceptions import HTTPError, RequestError
    from yt_dlp.utils import extract_basic_auth

    class HTTPHandler(_urllib.HTTPHandler):  # type: ignore[misc]
        def __init__(self, refused: Refused, watch: Watch, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._refused = refused
            self._watch = watch

        def do_open(self, http_class: Any, req: Any, **kwargs: Any) -> Any:
            to_proxy = req.has_proxy() or req._tunnel_host

            def connection(host: str, **options: Any) -> Any:
                made = http_class(host, **options)
                made.response_class = functools.partial(Response, self._watch)
                if not to_proxy:
                    made._create_connection = self._create_connection
                return made

            return super().do_open(connection, req, **kwargs)

        def http_response(self, req: Any, resp: Any) -> Any:
            """Replaces the base's, which would read and unpack the whole body at once."""
            body = unpacked(resp, resp.headers.get("Content-encoding", ""), self._watch)
            if body is None:
                return resp
            response = urllib.response.addinfourl(body, resp.headers, resp.url, resp.code)
            response.msg = resp.msg  # type: ignore[attr-defined]
            return response

        https_response = http_response

        def _create_connection(self, address: Any, timeout: Any, source_address: Any) -> Any:
            connect = functools.partial(_connect, self._refused, address[0])
            return _helper.create_connection(
                address, timeout, source_address, _create_socket_func=connect
            )

    class ProxyHandler(_urllib.ProxyHandler):  # type: ignore[misc]
        """A configured proxy may have any address. It resolves names itself, so only addresses that
        are spelt out can be refused behind one."""

        def __init__(self, refused: Refused, proxies: Any) -> None:
            super().__init__(proxies)
            self._refused = refused

        def proxy_open(self, req: Any) -> Any:
            host = urlsplit(req.full_url).hostname or ""
            address = literal_address(host)
            if address is not None and self._refused(address):
                raise PrivateAddress(host, address)
            return super().proxy_open(req)

    class RedirectHandler(_urllib.RedirectHandler):  # type: ignore[misc]
        """Drops passwords: the base keeps all headers but cookies on every redirect."""

        def redirect_request(self, req: Any, *args: Any) -> Any:
            led_to = super().redirect_request(req, *args)
            for name in list(led_to.headers):
                # The proxy's own password is added anew if there is a proxy.
                bound = name.lower() == "authorization" and not may_follow(
                    req.full_url, led_to.full_url
                )
                if bound or name.lower() == "proxy-authorization":
                    del led_to.headers[name]
            return led_to

    class UrllibRH(_urllib.UrllibRH):  # type: ignore[misc]
        _SUPPORTED_URL_SCHEMES = ("http", "https", "data")

        def __init__(self, refused: Refused, watch: Watch, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._refused = refused
            self._watch = watch

        def _create_instance(
            self, proxies: Any, cookiejar: Any, legacy_ssl_support: Any = None
        ) -> Any:
            """The base's opener with our handlers, and without ftp: a redirect could lead to it."""
            context = self._make_sslcontext(legacy_ssl_support=legacy_ssl_support)
            opener = urllib.request.OpenerDirector()
            for handler in (
                ProxyHandler(self._refused, proxies),
                HTTPHandler(
                    self._refused,
                    self._watch,
                    context=context,
                    source_address=self.source_address,
                ),
                urllib.request.HTTPCookieProcessor(cookiejar),
                urllib.request.DataHandler(),
                urllib.request.UnknownHandler(),
                urllib.request.HTTPDefaultErrorHandler(),
                urllib.request.HTTPErrorProcessor(),
                RedirectHandler(),
            ):
                opener.add_handler(handler)
            opener.addheaders = []
            return opener

    class GuardedYoutubeDL(YoutubeDL):  # type: ignore[misc]
        def __init__(
            self, params: dict[str, Any], refused: Refused, watch: Watch, *, plugins: bool = False
        ) -> None:
            self._refused = refused
            self.watch = watch
            self._responses: WeakSet[Any] = WeakSet()
            """The open ones. Weak, since yt-dlp leaves the closing of those that it drops to the
            garbage collector: a server would go on sending to one that is held here."""
            self.unread = Unread()
            self.on_media: Callable[[], None] = lambda: None
            self.answers: deque[Answer] = deque(maxlen=100)
            """The servers' answers since it was last cleared, in order."""
            with nullcontext() if plugins else _no_plugins():
                super().__init__(params)

        def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
            """Only urllib, and curl_cffi for requests that look like a browser's. The other
            handlers (requests, websockets, yt-dlp's own for curl_cffi) choose their connections
            inside their libraries, out of reach of a guard for one instance."""
            ours: list[Any] = [one for one in (UrllibRH, curl_handler()) if one is not None]
            return super().build_request_director(
                [functools.partial(one, self._refused, self.watch) for one in ours], preferences
            )

        def urlopen(self, req: Any) -> Any:
            checkpoint()
            req = self._with_password(req)
            key = RequestKey.of(req, self.params["http_headers"])
            response = self.unread.take(key) or self._ask(req)
            self.unread.came(key, response)
            self.answers.append(Answer.of(response))
            return response

        def _ask(self, req: Any) -> Any:
            try:
                response = super().urlopen(req)
            except HTTPError as error:
                self._responses.add(error.response)
                raise
            except RequestError as error:  # other errors travel inside a RequestError
                for cause in (error.cause, *getattr(error, "unexpected_errors", ())):
                    if isinstance(cause, (Ending, Cancelled)):
                        raise cause from None
                raise
            self._responses.add(response)
            return response

        def _with_password(self, req: Any) -> Any:
            """A copy of the request with the password for its own server. yt-dlp would write the
            password of an address into the given headers, which all pieces of a stream may share,
            on any server. Here a password goes only to its own server, for the whole attempt."""
            if not isinstance(req, (str, Request)):
                return req  # urllib's own, which some plugins still use
            req = Request(req) if isinstance(req, str) else req.copy()
            url, password = extract_basic_auth(req.url)
            if password:
                req.url, req.headers["Authorization"] = url, password
                self.watch.passwords[origin(url)] = password
            elif (known := self.watch.passwords.get(origin(url))) is not None:
                req.headers.setdefault("Authorization", known)
            return req

        def close_connections(self) -> None:
            """Close the responses that are still open: an error may keep them."""
            self.unread.drop()
            for response in list(self._responses):
                response.close()

        def close(self) -> None:
            self.close_connections()
            super().close()

        def dl(self, name: Any, info: Any, subtitle: bool = False, test: bool = False) -> Any:
            protocols = str(info.get("protocol", "http")).split("+")
            for protocol in protocols:
                if protocol not in FETCHED_HERE:
                    raise Permanent(
                        f"{info.get('webpage_url')}: its video is only offered over {protocol}, "
                        "which cannot be fetched",
                        kind="unsupported",
                    )
            self.watch.in_pieces = bool(PIECES.intersection(protocols))
            if not test:
                self.on_media()
            try:
                return super().dl(name, info, subtitle, test)
            except BaseException as error:
                _close_streams(error)
                raise
            finally:
                self.watch.in_pieces = False

    return GuardedYoutubeDL
