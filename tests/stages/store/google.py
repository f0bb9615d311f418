"""Google Cloud Storage's XML interface, as far as uploads use it: no server of it runs here.

It checks what a server would: that a request is signed with the account's key, in its header or in
its address, and that a file is put only where none is if that is asked for. Its answers are those
of Google's reference of the XML API.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.threaded_server import QuietHandler, serving_requests

MAIL = "tests@project.iam.gserviceaccount.com"
HOST = "storage.googleapis.com"
"""What addresses are signed for: the client does so also where it asks another server."""

RULE = (padding.PKCS1v15(), hashes.SHA256())


@dataclass
class Google:
    """The server's address, the account's file, and what it holds: files by bucket and key."""

    url: str = ""
    account: Path = Path()
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    files: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Pieces of unfinished uploads, by upload."""
    puts: int = 0
    """Requests that sent something."""

    def is_signed(self, method: str, path: str, headers: Any) -> bool:
        """Whether the header has a token, or the address a signature, of the account's key."""
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            if token:
                signed, _, signature = token.rpartition(".")
                self.key.public_key().verify(_decoded(signature), signed.encode(), *RULE)
                return True
            return self._verifies(method, path)
        except (InvalidSignature, KeyError, ValueError):
            return False

    def _verifies(self, method: str, path: str) -> bool:
        """Google's V4 signing process, for an address that is signed for its host alone."""
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query, strict_parsing=True))
        signature = bytes.fromhex(query.pop("X-Goog-Signature"))
        scope = query["X-Goog-Credential"].partition("/")[2]
        named = "&".join(f"{quote(k, '')}={quote(v, '')}" for k, v in sorted(query.items()))
        request = "\n".join(
            (method, parts.path, named, f"host:{HOST}", "", "host", "UNSIGNED-PAYLOAD")
        )
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join((query["X-Goog-Algorithm"], query["X-Goog-Date"], scope, digest))
        self.key.public_key().verify(signature, text.encode(), *RULE)
        return True


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def serving_google(folder: Path, *buckets: str) -> Iterator[Google]:
    """With these buckets; the account's file lies in the folder."""
    google, lock = Google(), threading.Lock()

    class Handler(QuietHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                status, headers, answer = self._made_of(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

        def _made_of(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            name = unquote(parts.path.lstrip("/"))
            if not google.is_signed(self.command, self.path, self.headers):
                return _problem(403, "SignatureDoesNotMatch")
            if name.partition("/")[0] not in buckets:
                return _problem(404, "NoSuchBucket")
            google.puts += self.command in ("PUT", "POST")
            if "uploads" in query:
                number = f"upload-{len(google.uploads)}"
                google.uploads[number] = {}
                return _told("InitiateMultipartUploadResult", UploadId=number)
            if (upload := query.get("uploadId")) is not None:
                if self.command == "PUT":
                    google.uploads[upload][int(query["partNumber"])] = body
                    return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
                pieces = google.uploads.pop(upload)
                if self.command == "DELETE":
                    return 204, {}, b""
                whole = b"".join(piece for _, piece in sorted(pieces.items()))
                google.files[name] = whole, "video/mp4"
                return _told("CompleteMultipartUploadResult", ETag=f'"{_etag(whole)}"')
            if self.command == "PUT":
                if self.headers.get("x-goog-if-generation-match") == "0" and name in google.files:
                    return _problem(412, "PreconditionFailed")
                google.files[name] = body, self.headers.get("Content-Type", "")
            if name not in google.files:
                return _problem(404, "NoSuchKey")
            content, kind = google.files[name]
            about = {"ETag": f'"{_etag(content)}"', "Content-Type": kind}
            about |= {"Last-Modified": formatdate(usegmt=True), "x-goog-generation": "1"}
            return 200, about, b"" if self.command == "PUT" else content

    with serving_requests(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        google.url = f"http://127.0.0.1:{server.server_port}"
        google.account = folder / "account.json"
        pem = google.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        account = {"type": "service_account", "client_email": MAIL, "private_key": pem.decode()}
        account |= {"private_key_id": "one", "token_uri": f"{google.url}/token"}
        google.account.write_text(json.dumps(account))
        yield google


def _etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def _told(tag: str, **fields: str) -> tuple[int, dict[str, str], bytes]:
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return 200, {}, f"<{tag}>{inside}</{tag}>".encode()


def _problem(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {}, f"<Error><Code>{code}</Code><Message>told</Message></Error>".encode()
