"""What the service signs: links to files, which expire."""

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path
from urllib.parse import quote, urlencode

from engine import UsageError

FILE = "serve.key"

BYTES = 32

LASTS = 3600.0
"""Seconds for which a link to a file works."""


class LinkSigner:
    """Signs links with a key of the work folder, so that they outlive the server. It has none until
    `use` is called."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(BYTES)

    def use(self, workdir: Path) -> None:
        """Sign with the folder's key, which only its owner may read; made where it is missing.
        Raises UsageError where it cannot be used."""
        path = workdir / FILE
        try:
            _make(path)
            key = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path}: the key cannot be used: {error.strerror}") from None
        if len(key) != BYTES:
            raise UsageError(f"{path}: this is no key of a service; delete it to have a new one")
        self._key = key

    def link(self, job: str, name: str) -> str:
        """The address of a file of the job, for LASTS seconds from now."""
        expires = int(time.time() + LASTS)
        query = urlencode({"expires": expires, "signature": self._signature(job, name, expires)})
        return f"/files/{job}/{quote(name)}?{query}"

    def holds(self, job: str, name: str, expires: int, signature: str) -> bool:
        """Whether the signature is one of these, and has not expired. In constant time."""
        made = self._signature(job, name, expires).encode()
        is_ours = hmac.compare_digest(made, signature.encode("utf-8", "replace"))
        return is_ours and time.time() < expires

    def _signature(self, job: str, name: str, expires: int) -> str:
        text = f"{job}\n{expires}\n{name}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _make(path: Path) -> None:
    """Write a new key, whole or not at all, unless there is one."""
    if path.is_file() and not path.is_symlink():
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secrets.token_bytes(BYTES))
        os.fsync(file.fileno())
    new.replace(path)
