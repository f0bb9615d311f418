"""Sends one question until it is answered: attempts, backoff, pauses, and when to stop."""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Generic
from urllib.parse import quote, urlsplit

import anyio
from anyio.to_thread import run_sync

from engine import GatesAway, Loan, StopRun, Throttled, Withdrawn
from stages.calls.api import PaidAPI, Q, R, RawReply, Request, UnexpectedReply
from stages.calls.errors import Crowded, Refused, ServerFailed, SlowDown, TimedOut, TryAgain
from stages.calls.pace import TokenEstimate
from stages.calls.problem import AWAY, Problem, problem_within, read_problem
from stages.calls.rate import Away, CallGate, DaySpent, PausedTooLong
from stages.calls.route import answers, open_client
from stages.calls.sent_calls import SentCalls

_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 30.0

_LARGE = 1_000_000
"""Bytes of an answer from which it is parsed in a thread: the event loop has other work."""

_MORE_KNOCKS = 1
"""Failed probes ("knocks") of an absent server that a call waits for, beyond the number of its
tries."""

_GATES_AWAY = 30.0
"""Seconds after which an item is taken up again that waited for the shared gates for too long."""

_BEHIND = 0.05
"""Seconds that a call stays behind the others after its probe failed."""

_MOST_CROWDED = 8
"""The most time-outs of one question that count as caused by too many calls at once."""


class ApiClient(Generic[Q, R]):
    """One client for the whole pool. No message, log line or file that it makes holds the key.

    `attempts` bounds the tries at one question that end in a timeout, a broken connection or the
    server's own fault; while the server is away, the tries of other calls count too for calls that
    wait. A request to slow down is no such try: it pauses every call, for up to `patience` seconds
    a question. A time-out because of too many calls at once is none either: it lowers their number.
    `max_requests` bounds the requests of this client's lifetime; 0 is no bound. `step` is the step
    whose settings these are, such as "stages.describe". `advice` is the remedy for a missing model,
    `too_large` that for a request that is refused for its size. `worked` is asked while there is no
    answer yet: whether such a question was ever answered. `expected_tokens` is the first estimate
    of what a call takes; None where the gate has one for all of its calls. A `loan` of a shared
    gate is given back when the client is closed.
    """

    def __init__(
        self,
        api: PaidAPI[Q, R],
        gate: CallGate,
        *,
        key: str | None,
        key_name: str,
        timeout: float,
        attempts: int,
        patience: float,
        max_requests: int,
        step: str,
        advice: str = "",
        too_large: str = "",
        worked: Callable[[], bool] = lambda: False,
        expected_tokens: float | None = None,
        loan: Loan[CallGate] | None = None,
    ) -> None:
        self.api = api
        self.gate = gate
        self.estimate = None if expected_tokens is None else TokenEstimate(expected_tokens)
        self.key_name = key_name
        self.timeout = timeout
        self.attempts = attempts
        self.patience = patience
        self.max_requests = max_requests
        self.sent = 0
        """Requests sent so far, whatever their outcome."""
        self.answers = 0
        """Answers to this client's calls so far; the gate counts those of all that pass it."""
        self.calls = SentCalls()
        """What became of the requests so far."""
        self.proven = False
        """Whether this question has been answered, now or in an earlier run."""
        self.host = urlsplit(api.url).netloc
        self.step = step
        self._advice = advice or f"check model and base_url in [{step}]"
        self._too_large = too_large
        self._worked, self._loan = worked, loan
        self._doomed: bool | None = None
        self._proving = anyio.Lock()
        self._key = key
        self._stop: str | None = None
        self._drained = False
        self._waiting: set[anyio.CancelScope] = set()
        # `_post` bounds the whole call; httpx would bound each read.
        self._http = open_client(
            api.url, api.headers(key) if key else {}, setting=f"{step}.base_url"
        )

    async def close(self) -> None:
        await self._http.aclose()
        if self._loan is not None:
            self._loan.give_back()

    def drain(self) -> None:
        """The run takes nothing new: calls that wait for their turn are not sent any more. `ask`
        raises Withdrawn for them."""
        self._drained = True
        for waiting in self._waiting:
            waiting.cancel()

    @contextmanager
    def _may_be_withdrawn(self) -> Iterator[None]:
        """For the time that a call waits, and is not sent."""
        waiting = anyio.CancelScope()
        if not self._drained:
            self._waiting.add(waiting)
            try:
                with waiting:
                    yield
                    return
            finally:
                self._waiting.discard(waiting)
        # The run had been drained before, or `drain` has cancelled the wait in the block.
        raise Withdrawn("the run takes nothing new, and this call was not sent yet")

    def bound(self) -> str | None:
        """What its calls wait for, as `Stage.bound` says it: a server that did not get through as
        many at once as are set, or the settings; None where they seldom wait."""
        slots = self.gate.slots
        if slots.lowest == slots.most:
            return self.gate.bound(self.step)
        calls = f"{slots.lowest} call{'s' if slots.lowest > 1 else ''} at once"
        return (
            f"{self.host} did not get through {slots.most} calls within {self.step}.call_timeout, "
            f"so it was down to {calls}; more workers would not help"
        )

    async def ask(self, question: Q) -> R:
        """The model's answer to one question.

        Raises CallFailed when this one cannot be answered, Throttled when the server wants a pause
        longer than `patience`, and StopRun when none can be: a refused key, a model that does not
        exist, no money left, or `max_requests` reached.
        """
        failures = faults_met = crowded = 0
        dropped = False  # whether the server broke off at this very question, the last time
        before, faults, knocks = self.gate.answers, self.gate.faults, self.gate.knocks
        first_refusal: float | None = None

        def failed(why: object, away: bool) -> ServerFailed:
            tries = " (one attempt)" if faults_met == 1 else f" ({faults_met} attempts)"
            return ServerFailed(
                f"{why}{tries if faults_met else ''}",
                away=away,
                before=before,
                answers=self.gate.answers - before,
                others=self.gate.faults - faults - faults_met,
            )

        while True:
            patience = self.patience
            if first_refusal is not None:
                patience -= anyio.current_time() - first_refusal
            try:
                return await self._call(question, patience, knocks)
            except TryAgain as error:
                faults_met += 1
                dropped = error.dropped
                # While the server is away, one call probes it for all.
                failures += not (error.knocked and error.away) or self.attempts == 1
                if failures >= self.attempts:
                    raise failed(error, error.away and not await self._is_there(dropped)) from None
                if error.wait:
                    await self.gate.pause(error.wait)
                # The next probe is for a call that has waited.
                next_knock = self.gate.next_knock + _BEHIND if error.knocked else 0.0
                with self._may_be_withdrawn():
                    await anyio.sleep(max(_backoff(failures), next_knock))
            except Crowded:
                crowded += 1
                if crowded >= _MOST_CROWDED:
                    why = (
                        f"no answer from {self.host} within the {self.timeout:g} s of call_timeout"
                    )
                    raise failed(why, True) from None
            except SlowDown as error:
                if first_refusal is None:
                    first_refusal = anyio.current_time()
                await self.gate.pause(error.problem.wait)
            except Away as gone:
                raise failed(gone, not await self._is_there(dropped)) from None
            except GatesAway as away:
                raise Throttled(str(away), after=_GATES_AWAY, key=self.host) from None
            except DaySpent as spent:
                raise Throttled(
                    f"the {spent.most:,} requests of {self.step}.requests_per_day are sent; "
                    f"the next may go in {spent.seconds / 3600:.1f} h",
                    after=spent.seconds,
                    key=self.host,
                ) from None
            except PausedTooLong as closed:
                raise Throttled(
                    f"{self.host} asks for a pause of {closed.seconds:.0f} s more, "
                    f"past the {self.patience:g} s of rate_patience",
                    after=closed.seconds,
                    key=self.host,
                ) from None

    async def _call(self, question: Q, patience: float, since: int) -> R:
        self._check_may_send()
        knocks = self.attempts + _MORE_KNOCKS
        async with AsyncExitStack() as held:
            turn = self.gate.turn(patience, since, knocks, self.estimate)
            with self._may_be_withdrawn():
                charged = await held.enter_async_context(turn)
            knocking, limit, began = self.gate.away, self.gate.slots.limit, anyio.current_time()
            self._check_may_send()  # other calls may have been sent or refused since
            request = self.api.request(question)
            try:
                answer = await self._ask_once(request)
            except TryAgain as error:
                self.calls.failed += 1
                late = isinstance(error, TimedOut) and not knocking
                if late and self.gate.slots.late(limit):
                    raise Crowded from None
                self.gate.failed(str(error), knocking)
                error.knocked = knocking
                raise
            if not isinstance(answer, Problem):
                self.proven, seconds = True, anyio.current_time() - began
                self.answers += 1
                self.calls.answer(seconds)
                self.gate.answered(answer.tokens, charged, seconds, self.estimate)
                return answer
            if answer.remedy == "slow down":
                self.calls.paused += 1
            else:
                self.calls.failed += 1
            self.gate.reached()
            adapted = answer.status == 400 and self.api.adapt(request, answer.parameter)
            if not adapted:
                raise await self._verdict(answer)
        return await self._call(question, patience, since)

    async def _ask_once(self, request: Request) -> R | Problem:
        """The outcome of one request: a reply, or a problem that another try would not solve."""
        self.sent += 1
        status, headers, content = await self._post(request)
        problem: Problem | None
        kind = headers.get("content-type", "")
        if 200 <= status < 300 and request.answer == "bytes" and "json" not in kind:
            return self._reply(RawReply(content, kind), content)
        if 200 <= status < 300:
            is_large = len(content) > _LARGE
            payload = await run_sync(self._parsed, content) if is_large else self._parsed(content)
            problem = problem_within(payload, headers)
            if problem is None:
                return self._reply(payload, content)
        else:
            problem = read_problem(status, headers, content)
        if problem.remedy == "try again":
            raise TryAgain(self._said(problem), problem.wait, away=problem.is_away)
        return problem

    def _check_may_send(self) -> None:
        if self.max_requests and self.sent >= self.max_requests:
            self._stop = (
                f"{self.sent} requests have been sent, as many as max_requests allows in one run; "
                f"every answer is kept: run the same command to go on with as many more, "
                f"or raise {self.step}.max_requests"
            )
        if self._stop is not None:
            raise StopRun(self._stop)

    async def _post(self, request: Request) -> tuple[int, Mapping[str, str], bytes]:
        """The status, the headers and the body of the response to one request."""
        import httpx

        headers = {"Content-Type": request.content_type}
        self.calls.up += len(request.content)
        body = bytearray()
        try:
            with anyio.fail_after(self.timeout):
                async with self._http.stream(
                    "POST", self.api.url, content=request.content, headers=headers
                ) as response:
                    async for part in response.aiter_bytes():
                        body += part
                        if len(body) > request.most_bytes:
                            most = request.most_bytes // 1_000_000
                            raise TryAgain(f"{self.host} answered more than {most} MB")
        except TimeoutError:
            raise TimedOut(
                f"no answer from {self.host} within the {self.timeout:g} s of call_timeout"
            ) from None
        except httpx.RequestError as error:
            why = self._say(str(error)) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in why:
                why += "; SSL_CERT_FILE may name certificates to trust"
            broke = isinstance(error, httpx.ReadError | httpx.WriteError | httpx.ProtocolError)
            raise TryAgain(f"no answer from {self.host}: {why}", away=True, dropped=broke) from None
        self.calls.down += len(body)
        return response.status_code, response.headers, bytes(body)

    async def _is_there(self, dropped: bool) -> bool:
        """Whether a server that `dropped` a question's connection is there for others."""
        if dropped and await answers(self._http, self.api.url, but=AWAY):
            self.gate.reached()
            return True
        return False

    def _parsed(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise self._unexpected("not JSON", content) from None

    def _reply(self, payload: Any, content: bytes) -> R:
        try:
            reply = self.api.reply(payload)
        except UnexpectedReply as error:
            raise self._unexpected(str(error), content) from None
        if reply.fault:
            raise TryAgain(f"{self.host}: {reply.refusal}")
        return reply

    def _unexpected(self, what: str, content: bytes) -> TryAgain:
        begins = self._say(content[:1000].decode("utf-8", "replace"), 60)
        return TryAgain(f"{self.host} answered what is {what}: {begins or 'nothing'}")

    def _said(self, problem: Problem) -> str:
        return f"{self.host} answered {problem.status}: {self._say(problem.message)}"

    async def _verdict(self, problem: Problem) -> Exception:
        """The exception to raise for a problem. The reason to stop a run is kept, so that no
        waiting call is sent."""
        said = self._said(problem)
        if problem.remedy == "slow down":
            return SlowDown(problem)
        if problem.remedy == "image" or await self._is_the_questions(problem):
            return Refused(said + self._too_large * (problem.status == 413))
        if problem.remedy == "key" and self._key is None:
            advice = f"put a key for it into the environment variable {self.key_name}"
        elif problem.remedy == "key":
            advice = f"check the key in the environment variable {self.key_name}"
        elif problem.remedy == "money":
            advice = "run the same command again once there is quota or credit"
        else:
            advice = self._advice
        self._stop = f"{said}; {advice}"
        return StopRun(self._stop)

    async def _is_the_questions(self, problem: Problem) -> bool:
        """Whether a bad request is this question's fault: it is if the model answers others.

        It is known to answer if it did in this run or in an earlier one; otherwise it gets a plain
        question, which no server refuses for what is in it.
        """
        if problem.remedy != "request" or problem.status not in (400, 422):
            return False
        if self.answers:
            return True
        if problem.names_model:
            return False
        async with self._proving:
            if not self.proven and self._doomed is None:
                self.proven = await run_sync(self._worked) or await self._answers_a_plain_one()
                self._doomed = not self.proven
        return self.proven

    async def _answers_a_plain_one(self) -> bool:
        self._check_may_send()
        answer = await self._ask_once(self.api.request(await run_sync(self.api.plain)))
        if isinstance(answer, Problem) and answer.remedy == "slow down":
            raise SlowDown(answer)
        return not isinstance(answer, Problem)

    def _say(self, text: str, length: int = 200) -> str:
        """A server's words as one short line, with the key removed if they quote it."""
        if self._key:
            for form in {self._key, quote(self._key, safe=""), json.dumps(self._key)[1:-1]}:
                text = text.replace(form, "[key]")
        text = re.sub(r"\s+", " ", text).strip()
        return text if len(text) <= length else text[: length - 1] + "…"


def _backoff(failures: int) -> float:
    """Exponential backoff in seconds, with jitter so that calls which failed together do not retry
    together."""
    return min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0**failures) * random.uniform(0.5, 1.0)
