"""Addresses without their passwords and signatures, as they may be shown and passed on.

Only the ledger holds a list's addresses whole. Ids, events, reasons, tables and pages hold the
result of `shown` or `shown_in`.
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote

_ADDRESS = re.compile(r'[a-z][a-z0-9+.-]{0,30}://[^\s"<>]*', re.IGNORECASE)
_BEHIND = "][(){}'`,.;:!|\\…"
"""Punctuation after an address in a sentence that is no part of the address."""

_USER = re.compile(r"(?<=://)[^/?#]*@")
_IN_THE_PATH = re.compile(r"[/;](?:hdn(?:ts|ea|tl)=[^?#]{0,500}?~hmac=\w+|([\w.-]+)=[^/;]*)")
_FILE = re.compile(r"\.(?!(php\d?|aspx?|ashx|jspx?|cgi|pl|do|py)$)[a-z0-9]{2,5}$", re.IGNORECASE)

# Names of parameters, in lower case and without "-", "_" and ".".

_SIGNS = re.compile(
    r"x(amz|goog|oss|cos|obs|bce|tos)\w+|\w*accesskey(id)?|googleaccessid|keypairid"
    r"|[a-z]{0,4}sig|\w*signature|hmac|hdn(ts|ea|tl)|(ws|tx)(secret|time)"
    r"|expires?(at|in|on)?|expiry|expiration|\w*(password|passwd|apikey|credentials?)|pwd"
)
"""Parameters that grant access and do not identify the content."""

_OPENS = re.compile(
    r"(?!.*(page|next|contin|cursor|sync))(\w*token|\w*auth(key)?|authorization|jwt|\w*secret"
    r"|sign|policy|exp|pass|j?sessionid|phpsessid)"
)
"""Parameters that grant access and may also be the only thing that identifies the content."""

_USERS = frozenset({"user", "username", "login", "account"})
"""Parameters that name a user, beside a password."""

_AZURE = re.compile("s[vstpre]|srt|sip|spr|skoid|sktid|sk[tesv]|sdd|ses")
"""Parameters that Azure adds beside `sig`: new with each signature."""


def shown(source: str) -> str:
    """The source without user, password and signature; unchanged if it is
    no address or has none."""
    return _without_secrets(source, opening=True) if _ADDRESS.match(source) else source


def shown_in(text: str) -> str:
    """The text with `shown` applied to every address in it."""
    return _ADDRESS.sub(_shown_match, text) if "://" in text else text


def identity(source: str) -> str:
    """The part of a source that identifies it: two signatures of one address give the same text.

    A signature covers the rest of the address, so the rest identifies the content. A token may be
    the only identification (`/play?token=…`): it counts where the path names no file.
    """
    if not _ADDRESS.match(source):
        return source
    path = re.split("[?#]", source, maxsplit=1)[0]
    return _without_secrets(source, opening=_FILE.search(path) is not None)


def _shown_match(found: re.Match[str]) -> str:
    end = len(found[0].rstrip(_BEHIND))
    return _without_secrets(found[0][:end], opening=True) + found[0][end:]


def _without_secrets(address: str, *, opening: bool) -> str:
    """The address without user and signing parameters; with `opening`, also
    without those in `_OPENS`."""
    if "@" not in address and "=" not in address:
        return address
    names = {_plain(name) for name in re.findall(r"[?&;#/]([\w.%-]+)=", address)}

    def is_secret(name: str) -> bool:
        name = _plain(name)
        return (
            _SIGNS.fullmatch(name) is not None
            or (opening and _OPENS.fullmatch(name) is not None)
            or (_AZURE.fullmatch(name) is not None and {"sig", "sv"} <= names)
            or (name == "md5" and "expires" in names)
            or (name in _USERS and not names.isdisjoint({"password", "passwd", "pwd", "pass"}))
        )

    def kept(parameters: str) -> str:
        return "".join(_kept_parameters(parameters, is_secret, opening))

    head, fragment_mark, fragment = address.partition("#")
    path, query_mark, query = head.partition("?")
    path = _USER.sub("", path)
    path = _IN_THE_PATH.sub(
        lambda found: found[0] if found[1] and not is_secret(found[1]) else "", path
    )
    for mark, parameters in ((query_mark, query), (fragment_mark, fragment)):
        left = kept(parameters)
        path += mark + left if left or not parameters else ""
    return path


def _kept_parameters(
    parameters: str, is_secret: Callable[[str], bool], opening: bool
) -> Iterator[str]:
    """The parameters that stay, each but the first with its separator before it."""
    first, dropped = True, False
    for mark, parameter in re.findall("(^|[&;])([^&;]*)", parameters):
        name, equals, value = parameter.partition("=")
        # A value may hold ";": the text after it still belongs to the value.
        dropped = is_secret(name) if equals else dropped and mark == ";"
        if not dropped:
            value = _inner(value, opening)
            yield ("" if first else mark) + name + equals + value
            first = False


def _inner(value: str, opening: bool) -> str:
    """A parameter's value without secrets: the value may be an address itself."""
    if "://" in value:
        return _without_secrets(value, opening=opening)
    plain = unquote(value) if "%3a%2f%2f" in value.lower() else value
    inner = _ADDRESS.sub(lambda found: _without_secrets(found[0], opening=opening), plain)
    return value if inner == plain else quote(inner, safe="")


def _plain(name: str) -> str:
    return re.sub("[-_.]", "", unquote(name).lower())
