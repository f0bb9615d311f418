"""Settings of a paid server that are checked before anything is sent: its address, and its key."""

import os
import re
from urllib.parse import urlsplit

from engine import UsageError


def checked_key_name(value: str | None) -> str | None:
    """The name of a variable that may be sent as a key. Raises ValueError."""
    if value is not None and not re.fullmatch("[A-Z0-9_]*_API_KEY", value):
        raise ValueError(
            "give the NAME of an environment variable that ends in _API_KEY, such as "
            "OPENAI_API_KEY, and put the key itself into that variable; no other is sent"
        )
    return value


def checked_address(value: str | None) -> str | None:
    """The base of a server's addresses, without its last slash. Raises ValueError."""
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("give an address such as https://host/v1")
    if parts.query or parts.username or parts.password:
        raise ValueError(
            "give the address without key, user name or query; "
            "the key comes from the environment variable named in api_key_env"
        )
    return value.rstrip("/")


def read_key(name: str) -> str | None:
    """The key in this environment variable, None where there is none. Raises UsageError."""
    key = os.environ.get(name, "").strip()
    # An HTTP library's error about such a header would repeat it.
    if key and not re.fullmatch("[!-~]+", key):
        raise UsageError(
            f"the environment variable {name} holds no key: a key has no spaces and no special "
            f"characters; put the key alone into it"
        )
    return key or None
