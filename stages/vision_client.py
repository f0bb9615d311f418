"""Sends one image's question until it is answered: attempts, backoff, pauses, and when to stop."""

import json
import random
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import anyio

from engine import PenstockError, StopRun, Throttled
from stages.vision import Reply, UnexpectedReply, VisionAPI
from stages.vision_problem import Problem, read_problem
from stages.vision_rate import Closed, Gate

if TYPE_CHECKING:
    import httpx

_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 30.0


class CallFailed(PenstockError):
    """One image could not be described; others may be. The message is one line."""


class _TryAgain(Exception):
    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _SlowDown(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class VisionClient:
    """One client for the whole pool. No message, log line or file that it makes holds the key.

    `attempts` bounds the tries at one image that end in a timeout, a broken connection or the
    server's own fault. Being told to slow down is no such try: it pauses every call, for up to
    `patience` seconds an image. `max_requests` bounds the requests of this client's lifetime; 0 is
    no bound.
    """

    def __init__(
        self,
        api: VisionAPI,
        gate: Gate,
        *,
        key: str | None,
        key_name: str,
        timeout: float,
        attempts: int,
        patience: float,
        max_requests: int,
    ) -> None:
        import httpx

        self.api = api
        self.gate = gate
        self.key_name = key_name
        self.timeout = timeout
        self.attempts = attempts
        self.patience = patience
        self.max_requests = max_requests
        self.sent = 0
        """Requests sent so far, whatever came of them."""
        self.host = urlsplit(api.url).netloc
        self._key = key
        self._answered = False
        self._stop: str | None = None
        self._http = httpx.AsyncClient(
            headers=api.headers(key) if key else {},
            timeout=None,  # `_post` bounds the whole call, where httpx bounds each read of it
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, jpeg: bytes) -> Reply:
        """The model's answer to one image.

        Raises CallFailed when this image cannot be described, Throttled when the server wants a
        pause longer than `patience`, and StopRun when no image can be: a refused key, a model that
        does not exist, no money left, or `max_requests` reached.
        """
        failures = 0
        first_refusal: float | None = None
        while True:
            patience = self.patience
            if first_refusal is not None:
                patience -= anyio.current_time() - first_refusal
            try:
                return await self._call(jpeg, patience)
            except _TryAgain as error:
                failures += 1
                if failures >= self.attempts:
                    tries = f"{failures} attempts" if failures > 1 else "one attempt"
                    raise CallFailed(f"{error} ({tries})") from None
                if error.wait:
                    self.gate.pause(error.wait)
                await anyio.sleep(_backoff(failures))
            except _SlowDown as error:
                if first_refusal is None:
                    first_refusal = anyio.current_time()
                self.gate.pause(error.problem.wait)
            except Closed as closed:
                raise Throttled(
                    f"{self.host} asks for a pause of {closed.seconds:.0f} s more, "
                    f"past the {self.patience:g} s of rate_patience",
                    after=closed.seconds,
                    key=self.host,
                ) from None

    async def _call(self, jpeg: bytes, patience: float) -> Reply:
        self._check_may_send()
        async with self.gate.turn(patience) as charged:
            self._check_may_send()  # others may have been sent, or told, since
            body = self.api.body(jpeg)
            self.sent += 1
            response = await self._post(json.dumps(body).encode())
            if response.is_success:
                reply = self._read(response)
                self._answered = True
                self.gate.answered(reply.tokens, charged)
                return reply
        problem = read_problem(response.status_code, response.headers, response.content)
        if problem.status == 400 and self.api.adapt(body, problem.parameter):
            return await self._call(jpeg, patience)
        raise self._verdict(problem)

    def _check_may_send(self) -> None:
        if self.max_requests and self.sent >= self.max_requests:
            self._stop = (
                f"{self.sent} requests have been sent, as many as max_requests allows in one run; "
                f"every answer is kept: run the same command to go on with as many more, "
                f"or raise stages.describe.max_requests"
            )
        if self._stop is not None:
            raise StopRun(self._stop)

    async def _post(self, content: bytes) -> "httpx.Response":
        import httpx

        try:
            with anyio.fail_after(self.timeout):
                return await self._http.post(
                    self.api.url, content=content, headers={"Content-Type": "application/json"}
                )
        except TimeoutError:
            raise _TryAgain(f"no answer from {self.host} within {self.timeout:g} s") from None
        except httpx.RequestError as error:
            why = self._say(str(error)) or type(error).__name__
            raise _TryAgain(f"no answer from {self.host}: {why}") from None

    def _read(self, response: "httpx.Response") -> Reply:
        try:
            return self.api.reply(json.loads(response.content))
        except ValueError as error:  # UnexpectedReply is one
            what = str(error) if isinstance(error, UnexpectedReply) else "not JSON"
            begins = self._say(response.text, 60)
            raise _TryAgain(f"{self.host} answered what is {what}: {begins}") from None

    def _verdict(self, problem: Problem) -> Exception:
        """What to raise for it. Why a run stops is kept, so that no call still waiting is sent."""
        said = f"{self.host} answered {problem.status}: {self._say(problem.message)}"
        if problem.remedy == "slow down":
            return _SlowDown(problem)
        if problem.remedy == "try again":
            return _TryAgain(said, problem.wait)
        # A bad request is the images' fault only if others did pass.
        if problem.remedy == "image" or (
            problem.remedy == "request" and problem.status in (400, 422) and self._answered
        ):
            return CallFailed(said)
        if problem.remedy == "key" and self._key is None:
            advice = f"put a key for it into the environment variable {self.key_name}"
        elif problem.remedy == "key":
            advice = f"check the key in the environment variable {self.key_name}"
        elif problem.remedy == "money":
            advice = "run the same command again once there is quota or credit"
        else:
            advice = "check model and base_url in [stages.describe]"
        self._stop = f"{said}; {advice}"
        return StopRun(self._stop)

    def _say(self, text: str, length: int = 200) -> str:
        """A server's words as one short line without the key, should it repeat it."""
        if self._key:
            for form in {self._key, quote(self._key, safe=""), json.dumps(self._key)[1:-1]}:
                text = text.replace(form, "[key]")
        text = re.sub(r"\s+", " ", text).strip()
        return text if len(text) <= length else text[: length - 1] + "…"


def _backoff(failures: int) -> float:
    """Exponential, with jitter so that calls which failed together do not come back together."""
    return min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0**failures) * random.uniform(0.5, 1.0)
