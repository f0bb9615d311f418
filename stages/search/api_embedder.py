"""Vectors by an API: OpenAI's `/embeddings`, and any server that speaks it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine import (
    Loan,
    Permanent,
    StopRun,
    Transient,
    Withdrawn,
    borrow,
    has_run_loop,
    on_run_loop,
)
from stages.calls.client import ApiClient
from stages.calls.connecting import open_api_client
from stages.calls.errors import CallFailed, ServerFailed
from stages.calls.keys import read_key
from stages.calls.outages import put_off
from stages.calls.sent_calls import SentCalls
from stages.search.embedding import API_KEY, API_URL, Embedded, NoMeaning
from stages.search.embedding_limits import ONE_TRY, EmbeddingLimits
from stages.search.embeddings_api import Embeddings, EmbeddingsAPI

MOST_TEXTS = 2048
"""Texts of a request, at most."""

MOST_TOKENS = 300_000
"""Tokens of a request, at most. A token is a byte or more, so counting bytes never counts short."""

LONGEST = 8192
"""Tokens of a text, at most, counted likewise."""

EXPECTED_TOKENS = 1000.0
"""The first estimate of what a request takes, until replies report it."""

KIND = "embeddings"
"""The kind of an ending by the server's fault."""

EmbeddingsClient = ApiClient[Sequence[str], Embeddings]


class ApiEmbedder:
    """A model behind `base_url`/embeddings.

    In a thread of a run its requests go from the run's event loop, through the gate of their host,
    key and model, by one client for all that share `calls`: `close` it there. Elsewhere each
    request goes by itself.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        key_name: str | None,
        calls: SentCalls | None = None,
        limits: EmbeddingLimits = ONE_TRY,
        workdir: Path | None = None,
    ) -> None:
        """What becomes of its requests is counted in `calls`, which several may share, and those of
        a day in `workdir`, where there is one. Raises NoMeaning where the public server's key is
        missing, and UsageError where what is there is none."""
        self._model = model
        self._url = base_url.rstrip("/")
        self._key_name = key_name or API_KEY
        self._key = read_key(self._key_name)
        self._calls = calls or SentCalls()
        self._limits = limits
        self._workdir = workdir
        self._loan: Loan[EmbeddingsClient] | None = None
        self._is_draining = False
        self.host = urlsplit(base_url).netloc
        self.name = api_name(model, base_url)
        self.made_by: Mapping[str, Any] = {
            "backend": "api",
            "model": model,
            "base_url": base_url,
            "api_key_env": self._key_name,
        }
        if self._key is None and base_url == API_URL:
            raise NoMeaning(
                f"{self.host} needs a key: put it into the environment variable {self._key_name}"
            )

    def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
        """Raises Throttled, Transient, Permanent, StopRun and Withdrawn, as a stage does."""
        for some in batches([cut(text) for text in texts], self._limits.tokens_per_minute):
            given = texts[some.start : some.stop]
            made = self._made([cut(text) for text in given])
            try:
                units = made.units()
                if len(units) != len(given):
                    raise ValueError(f"{len(units)} vectors for {len(given)} texts")
            except ValueError as error:
                told = f"{self.host} gave no usable embeddings: {error}"
                raise Transient(told, kind=KIND) from error
            yield Embedded(given, units)

    def drain(self) -> None:
        self._is_draining = True
        if self._loan is not None:
            self._loan.thing.drain()

    def close(self) -> None:
        if self._loan is not None:
            self._loan.give_back()
            self._loan = None

    def _made(self, texts: Sequence[str]) -> Embeddings:
        limits = self._limits
        if has_run_loop():
            if self._loan is None:
                self._loan = borrow(
                    ("client for vectors", id(self._calls), self.name),
                    lambda: on_run_loop(self._connect),
                    lambda client: on_run_loop(client.close),
                )
            if self._is_draining:  # maybe before the client was there to be told
                raise Withdrawn("the run takes nothing new, and these texts were not sent yet")
            return on_run_loop(_ask, self._loan.thing, texts)
        if limits.requests_per_minute or limits.tokens_per_minute or limits.requests_per_day:
            raise StopRun(
                "limits on the rate of requests for vectors hold in the run's own process: "
                'set placement = "thread" for all steps that make them, or no such limits'
            )
        return on_run_loop(self._ask_once, texts)

    async def _ask_once(self, texts: Sequence[str]) -> Embeddings:
        client = await self._connect()
        try:
            return await _ask(client, texts)
        finally:
            await client.close()

    async def _connect(self) -> EmbeddingsClient:
        limits = self._limits
        day = self._workdir and limits.day_quota(
            self._workdir,
            server=self._url,
            model=self._model,
            key_name=self._key_name,
            day="24 hours",
        )
        client = open_api_client(
            EmbeddingsAPI(self._url, self._model),
            limits,
            server=self._url,
            model=self._model,
            key=self._key,
            key_name=self._key_name,
            step="persist",
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            day=day or None,
            expected_tokens=EXPECTED_TOKENS,
        )
        client.calls = made = self._calls
        # A worker that asks for the first time when the others have left gets a client of its own,
        # but no requests of its own.
        client.sent = made.answered + made.failed + made.paused
        return client


async def _ask(client: EmbeddingsClient, texts: Sequence[str]) -> Embeddings:
    try:
        return await client.ask(texts)
    except ServerFailed as fault:
        if fault.is_the_questions(client.gate.answers):
            raise Transient(f"{fault}, and it answers others", kind=KIND) from None
        raise put_off(client, str(fault), KIND) from None
    except CallFailed as error:
        raise Permanent(str(error), kind=KIND) from None


def api_name(model: str, base_url: str) -> str:
    """The name of the vectors of a model behind an address."""
    return f"{model} at {urlsplit(base_url).netloc}"


def cut(text: str) -> str:
    """As much of the text as a request may have of one."""
    return text.encode()[:LONGEST].decode(errors="ignore")


def batches(texts: Sequence[str], tokens_per_minute: float | None = None) -> Iterator[range]:
    """The places of the texts of each request, in order: as many as it may have, and no more than a
    minute's tokens, where a server would refuse it each time; but one text at least."""
    most = min(MOST_TOKENS, tokens_per_minute or MOST_TOKENS)
    first = size = 0
    for place, text in enumerate(texts):
        length = len(text.encode())
        if place > first and (place - first == MOST_TEXTS or size + length > most):
            yield range(first, place)
            first, size = place, 0
        size += length
    if texts:
        yield range(first, len(texts))
