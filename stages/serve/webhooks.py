"""Webhooks: the end of a job, told to an address that its request names.

By Standard Webhooks (https://www.standardwebhooks.com): an HMAC over id, time and body, in the
headers webhook-id, webhook-timestamp and webhook-signature.
"""

import base64
import hashlib
import hmac
import json
import logging
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import anyio
import httpx
from anyio import to_thread

from engine import UsageError, shown
from stages.net.addresses import canonical_url, is_private
from stages.serve.desk.desk import Desk
from stages.serve.desk.job_views import job_view
from stages.serve.queue.calls_table import DueCall
from stages.serve.queue.steady import steady_time

log = logging.getLogger("penstock.serve")

TIMEOUT = 10.0
"""Seconds that a call may take."""

FIRST, LONGEST = 5.0, 3600.0
"""Seconds before the second call, doubled with each, up to the longest."""

LASTS = 3 * 24 * 3600.0
"""Seconds after the job's end for which a call is tried again."""

AT_ONCE = 8

LOOK = 1.0
"""Seconds between two looks at what is due."""

Resolve = Callable[[str, int], list[str]]


class PrivateWebhook(Exception):
    """The address leads to this machine, or to a private network."""


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Makes the calls that are due, one after the other for a job, until one is answered with a
    2xx. Redirects are not followed, and an address is judged each time that it is called."""

    desk: Desk
    allow_private: bool

    async def send_due(self) -> float:
        """Make the calls that are due; returns the seconds until the next look."""
        due = await to_thread.run_sync(self._due)
        if not due:
            return LOOK
        async with (
            httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client,
            anyio.create_task_group() as tasks,
        ):
            for call in due:
                tasks.start_soon(self._call, client, call)
        return 0.0

    def _due(self) -> list[DueCall]:
        if self.desk.jobs.table is None:
            return []
        return self.desk.jobs.table.calls.due(steady_time(), AT_ONCE)

    async def _call(self, client: httpx.AsyncClient, call: DueCall) -> None:
        table = self.desk.table
        row = await to_thread.run_sync(table.find, None, call.job)
        secret = self.desk.tokens.secret(call.owner)
        if row is None or secret is None:
            await to_thread.run_sync(table.calls.give_up, call)
            return
        body = json.dumps({"type": "job.ended", "data": job_view(row, None).model_dump()})
        why = await self._try(client, call, body.encode(), secret)
        if why is None:
            await to_thread.run_sync(table.calls.done, call)
            return
        log.warning("webhook %s of job %s: %s", shown(call.url), call.job, why)
        if steady_time() - call.since > LASTS:
            await to_thread.run_sync(table.calls.give_up, call)
            return
        wait = min(LONGEST, FIRST * 2 ** min(call.tries, 20)) * random.uniform(0.5, 1.5)
        await to_thread.run_sync(table.calls.put_off, call, steady_time() + wait)

    async def _try(
        self, client: httpx.AsyncClient, call: DueCall, body: bytes, secret: str
    ) -> str | None:
        """Call; returns why it did not go well. What the server answers is not read: it may have
        no end."""
        place = partial(placed, call.url, self.allow_private)
        try:
            with anyio.fail_after(TIMEOUT):
                placed_at = await to_thread.run_sync(place, abandon_on_cancel=True)
                async with client.stream(
                    "POST",
                    placed_at.url,
                    content=body,
                    headers={"Host": placed_at.host, **signed(secret, f"job_{call.job}", body)},
                    extensions={"sni_hostname": placed_at.name},
                ) as answer:
                    status, is_redirect = answer.status_code, answer.is_redirect
        except (httpx.TimeoutException, TimeoutError):
            return f"no answer within {TIMEOUT:.0f} s"
        except (PrivateWebhook, UsageError) as error:
            return str(error)
        except Exception as error:  # one address must not hold up the calls of all others
            return f"{type(error).__name__}: {error}"
        if is_redirect:
            return f"answered {status}; redirects are not followed"
        return None if 200 <= status < 300 else f"answered {status}"


class WebhookPlace(NamedTuple):
    """An address with its host's IP address in the place of the name; the host as the header has
    it, with a port, and its name. Names are of ASCII."""

    url: str
    host: str
    name: str


def placed(url: str, allow_private: bool) -> WebhookPlace:
    """Look the host up once: what was judged is what is called, whatever the name leads to a moment
    later. Blocks. Raises PrivateWebhook, UsageError, OSError, and what is wrong with the name."""
    canonical = canonical_url(url)
    parts, asked = urlsplit(canonical), httpx.URL(canonical)
    name, port = asked.raw_host.decode(), parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    private = [one for one in addresses if is_private(one)]
    if private and not allow_private:
        raise PrivateWebhook(f"it leads to the private address {private[0]}, which is not called")
    address = addresses[0]
    place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    whole = urlunsplit((parts.scheme, place, parts.path, parts.query, ""))
    return WebhookPlace(whole, asked.netloc.decode(), name)


def signed(secret: str, id_: str, body: bytes, now: float | None = None) -> dict[str, str]:
    """The headers of a call with this body."""
    at = str(int(time.time() if now is None else now))
    made = hmac.new(secret.encode(), f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
    }
