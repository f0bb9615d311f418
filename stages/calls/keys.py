"""A paid server's address, and its key: checked before anything is sent."""

import os
import re
from urllib.parse import quote, urlsplit

from engine import UsageError

AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
AZURE_VERSION = "2024-10-21"
"""Azure's hosts, and the api-version of its addresses where none is set."""


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


def is_azure(base_url: str) -> bool:
    """Whether the host is Azure's: then the key goes into the api-key header."""
    return (urlsplit(base_url).hostname or "").endswith(AZURE_HOSTS)


def openai_address(
    base_url: str, path: str, model: str, *, azure: bool, version: str | None = None
) -> str:
    """The address of `path`, such as "/audio/speech", which the base may end with already.

    On Azure the deployment, which is named like the model, and the api-version are added to a base
    that lacks them.
    """
    url = base_url.rstrip("/").removesuffix(path)
    if azure and not urlsplit(url).path.rstrip("/").endswith("/v1"):
        if "/deployments/" not in url:
            url = f"{url.removesuffix('/openai')}/openai/deployments/{quote(model, safe='')}"
        version = version or AZURE_VERSION
    url += path
    return f"{url}?api-version={quote(version)}" if version else url
