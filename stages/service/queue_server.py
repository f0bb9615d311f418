"""The Redis of a queue: its address, with what the environment adds, and whether it may be used."""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

import anyio

from engine import UsageError

log = logging.getLogger("penstock.worker")

ADDRESS, USER, PASSWORD = "REDIS_URL", "REDIS_USERNAME", "REDIS_PASSWORD"
"""Variables of the environment."""

ANSWER = 30
"""Seconds without an answer before a connection counts as lost. BullMQ waits for up to 10 s for a
job: a client that gives up sooner, as redis-py does after 5, would wait again for ever."""

FIRST_ANSWER = 10
"""The same, in seconds, for the first question."""


def queue_address(given: str | None, environment: Mapping[str, str]) -> str:
    """The address from the command line, with user and password from the environment; or the
    environment's. Raises UsageError where there is none, or where one stands on the command line
    with a password: anybody on the machine can read that."""
    url = given if given is not None else environment.get(ADDRESS, "")
    if not url:
        raise UsageError(f"name the queue's Redis: --queue redis://HOST:6379, or set {ADDRESS}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_address(given) from None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise _no_address(given)
    if parts.password and given is not None:
        raise UsageError(
            "--queue: anybody on this machine can read a password that stands there; give the "
            f"address without, and put it into {PASSWORD}"
        )
    user = quote(environment.get(USER, ""), safe="")
    password = quote(environment.get(PASSWORD, ""), safe="")
    if parts.password or not password:
        return url
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = f"{parts.username or user}:{password}@{host}"
    return urlunsplit(parts._replace(netloc=place if port is None else f"{place}:{port}"))


def _no_address(given: str | None) -> UsageError:
    name = ADDRESS if given is None else "--queue"  # of the environment it may hold a password
    told = "" if given is None else f" {given!r}"
    return UsageError(f"{name}{told}: give an address such as redis://127.0.0.1:6379")


def with_patience(url: str) -> str:
    """The address with the time for an answer, which its query may set otherwise."""
    parts = urlsplit(url)
    if "socket_timeout" in parse_qs(parts.query):
        return url
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}socket_timeout={ANSWER}"))


async def check_queue_server(url: str) -> None:
    """Raises UsageError where no Redis answers at the address, where it takes no jobs, or where it
    may throw jobs away when its memory is full."""
    import redis.asyncio as client
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    how = {"socket_connect_timeout": FIRST_ANSWER, "socket_timeout": FIRST_ANSWER}
    try:
        with anyio.fail_after(2 * FIRST_ANSWER):  # the client's own tries may take minutes
            async with client.from_url(url, **how) as server:
                # CONFIG would tell the policy too, but many who host Redis do not allow it.
                info = await server.info()
                if info.get("role") != "slave":  # whose refusal of a script would be of the role
                    await _try_what_bullmq_does(server)
    except (AuthenticationError, ResponseError) as error:
        raise refused(error) from None
    except (RedisError, OSError, ValueError) as error:
        told = _line(error) or "nothing came"
        if url.startswith("rediss:"):
            told += "; rediss:// is for a server that speaks TLS"
        raise UsageError(f"the queue's Redis does not answer: {told}") from None
    if info.get("role") == "slave":
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        raise UsageError(f"the queue's Redis is a replica, which takes no jobs; name {master}")
    policy = info.get("maxmemory_policy")
    if policy is None:
        log.warning("the queue's Redis does not tell its maxmemory-policy; it has to be noeviction")
    elif policy != "noeviction":
        raise UsageError(
            f"Redis may throw jobs away: its maxmemory-policy is {policy}; set it to noeviction"
        )


def refused(error: Exception) -> UsageError:
    """What is told of a Redis that answers, but does not do what is asked of it."""
    from redis.exceptions import AuthenticationError

    # What Redis says to a client without a password is about its protocol.
    wrong = isinstance(error, AuthenticationError)
    told = "it wants a password, or another one" if wrong else _line(error)
    if wrong or "permission" in told:
        told += f"; user and password come from {USER} and {PASSWORD}"
    return UsageError(f"the queue's Redis refuses: {told}")


def is_away(error: Exception) -> bool:
    """Whether the same may go well later, once Redis answers again."""
    from redis import exceptions

    away = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
    return isinstance(error, away) and not isinstance(error, exceptions.AuthenticationError)


async def _try_what_bullmq_does(server: Any) -> None:
    """A user may be kept from some commands; BullMQ would find that out over and over again."""
    await server.client_setname("penstock")
    await server.register_script("return 1")()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
