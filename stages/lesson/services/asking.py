"""Asks a service and keeps what it answered, so that a section's end is the engine's to decide."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import anyio
from anyio.to_thread import run_sync

from engine import Ending, Permanent, StopRun, Transient
from stages.calls.client import ApiClient
from stages.calls.errors import CallFailed, ServerFailed, WouldAsk
from stages.calls.outages import put_off
from stages.lesson.services.answers import KeptMedia, MediaAnswer

T = TypeVar("T")

Reading = Callable[[MediaAnswer, str], T]
"""What is made of an answer to a text. Runs in a thread; raises Transient for one that cannot be
used."""


class MediaAsker:
    """Has texts drawn or spoken; every answer is kept. Without a client nothing is sent: only what
    is kept is answered."""

    def __init__(
        self,
        client: ApiClient[str, MediaAnswer] | None,
        kept: KeptMedia,
        *,
        host: str,
        made_by: str,
        kind: str,
    ) -> None:
        """`kind` is that of an ending by the server's fault."""
        self.client = client
        self.kept = kept
        self.host = host
        self.made_by = made_by
        self._kind = kind

    async def close(self) -> None:
        if self.client is not None:
            await self.client.close()

    def drain(self) -> None:
        """The run takes nothing new: what waits for its turn is not sent any more."""
        if self.client is not None:
            self.client.drain()

    def bound(self) -> str | None:
        return self.client.bound() if self.client is not None else None

    def has(self, text: str) -> bool:
        """Whether the answer is kept. Blocks."""
        return self.kept.has(self.kept.key(text.encode()))

    async def ask(self, text: str, reading: Reading[T]) -> T:
        """What is made of the answer, which is on disk before anything is made of it; one that
        cannot be used is thrown away again, and asked for anew by the next attempt.

        Raises Permanent, of kind "refused", where the service takes this text from nobody;
        Transient or Throttled where it fails or is away; and the client's errors that concern every
        call. Without a client it raises WouldAsk where no answer is kept.
        """
        key = self.kept.key(text.encode())
        answer = await self._answer(key, text)
        try:
            return await run_sync(reading, answer, text)
        except Transient:
            await run_sync(self.kept.discard, key)
            raise

    async def ask_each(self, texts: Sequence[str], reading: Reading[T]) -> list[T]:
        """As `ask`, in the texts' order and side by side. Calls in flight are waited for before
        anything is raised: they are paid for."""
        made: dict[int, T] = {}
        ends: list[Exception] = []

        async def ask(place: int, text: str) -> None:
            try:
                made[place] = await self.ask(text, reading)
            # OSError: an answer that cannot be written
            except (Ending, StopRun, WouldAsk, OSError) as end:
                ends.append(end)

        async with anyio.create_task_group() as tasks:
            for place, text in enumerate(texts):
                tasks.start_soon(ask, place, text)
        if ends:
            # A stop of the whole run outranks the rest.
            raise min(ends, key=lambda end: not isinstance(end, StopRun))
        return [made[place] for place in range(len(texts))]

    async def _answer(self, key: str, text: str) -> MediaAnswer:
        client = self.client
        if client is None:
            kept = await self.kept.read(key)
            if kept is None:
                raise WouldAsk(text)
            return kept
        try:
            return await self.kept.get(key, lambda: _asked(client, text))
        except ServerFailed as fault:
            if fault.is_the_questions(client.gate.answers):
                raise Transient(f"{fault}, and it answers others", kind=self._kind) from None
            raise put_off(client, str(fault), self._kind) from None
        except CallFailed as error:
            raise Permanent(str(error), kind="refused") from None


async def _asked(client: ApiClient[str, MediaAnswer], text: str) -> MediaAnswer:
    """A refusal is not kept: it cost nothing, and may be another one next time."""
    answer = await client.ask(text)
    if answer.refusal is not None:
        raise Permanent(answer.refusal, kind="refused")
    return answer
