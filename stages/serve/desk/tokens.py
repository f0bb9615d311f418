"""Who may ask: the tokens of a file, each with a caller's name and quotas."""

import hashlib
import hmac
import logging
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine import UsageError, why_refused
from stages.serve.desk.problems import HttpRefusal, busy

log = logging.getLogger("penstock.serve")

MINUTE = 60.0

SHORTEST = 16


class TokenTable(BaseModel):
    """One table of a token file: `[NAME]`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: str = Field(min_length=SHORTEST, pattern=r"^[!-~]+$")
    jobs: int | None = Field(None, ge=1)
    requests: int | None = Field(None, ge=1)
    cost: int | None = Field(None, ge=1)
    webhook_secret: str | None = Field(None, min_length=SHORTEST)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever asks. `jobs` may be under way at once, `requests` may be made in a minute, and `cost`
    is the number of paid requests that its jobs may make in a day; None: any number."""

    name: str
    jobs: int | None = None
    requests: int | None = None
    cost: int | None = None
    webhook_secret: str | None = field(default=None, repr=False)


ANYONE = Caller("")
"""Whoever asks a service without tokens: it is to be reached from this machine alone."""


class Tokens:
    """The callers of a token file. To be used on one event loop."""

    def __init__(self, callers: Sequence[tuple[str, Caller]]) -> None:
        """Pairs of a token and its caller; without any, everybody may ask."""
        self._callers = [(_digest(token), caller) for token, caller in callers]
        self._secrets = {caller.name: caller.webhook_secret for _, caller in callers}
        self._left = {caller.name: float(caller.requests or 0) for _, caller in callers}
        self._at = dict.fromkeys(self._left, time.monotonic())

    @classmethod
    def read(cls, path: Path) -> "Tokens":
        """Raises UsageError, without quoting a token, where the file cannot be used."""
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"--token-file {path}: {error.strerror}") from None
        except ValueError:  # its text would quote the file
            raise UsageError(f"--token-file {path}: this is no TOML; see docs/serve.md") from None
        if not tables:
            raise UsageError(f"--token-file {path}: it holds no token; see docs/serve.md")
        callers = [_caller(path, name, table) for name, table in tables.items()]
        if len({token for token, _ in callers}) < len(callers):
            raise UsageError(f"--token-file {path}: two callers have one token")
        if path.stat().st_mode & 0o007:
            told = "--token-file %s: others on this machine can read it; chmod 600 takes that away"
            log.warning(told, path)
        return cls(callers)

    def __bool__(self) -> bool:
        return bool(self._callers)

    def caller(self, authorization: str) -> Caller:
        """The caller whose token the header holds, with one request less to make.
        Raises HttpRefusal.

        Every token is compared, and each in constant time.
        """
        if not self._callers:
            return ANYONE
        scheme, _, token = authorization.partition(" ")
        given = _digest(token.strip())
        matching = [one for kept, one in self._callers if hmac.compare_digest(kept, given)]
        if scheme.lower() != "bearer" or not matching:
            told = "give a token that this service knows: Authorization: Bearer TOKEN"
            raise HttpRefusal(401, told, {"WWW-Authenticate": "Bearer"})
        self._count(matching[0])
        return matching[0]

    def secret(self, name: str) -> str | None:
        """What a caller's webhooks are signed with; None where it has no such secret."""
        return self._secrets.get(name)

    def _count(self, caller: Caller) -> None:
        """A bucket of `requests`, filled evenly over a minute."""
        if caller.requests is None:
            return
        rate = caller.requests / MINUTE
        now = time.monotonic()
        grown = self._left[caller.name] + (now - self._at[caller.name]) * rate
        left = min(float(caller.requests), grown)
        self._at[caller.name], self._left[caller.name] = now, left
        if left < 1:
            told = f"{caller.requests} requests a minute are allowed; ask again a little later"
            raise busy(told, int((1 - left) / rate) + 1, 429)
        self._left[caller.name] = left - 1


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _caller(path: Path, name: str, table: Any) -> tuple[str, Caller]:
    try:
        read = TokenTable.model_validate(table if isinstance(table, Mapping) else {})
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {why_refused(one)}"
            for one in error.errors(include_input=False)
        )
        raise UsageError(f"--token-file {path}: [{name}]: {wrong}") from None
    return read.token, Caller(name, read.jobs, read.requests, read.cost, read.webhook_secret)
