"""Asks a model and keeps what it answered, so that an item's end is the engine's to decide."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from engine import Permanent, Throttled, Transient
from stages.calls.client import ApiClient
from stages.calls.errors import CallFailed, ServerFailed, WouldAsk
from stages.calls.outages import put_off
from stages.vision.api import Reply, Subject
from stages.vision.forms import Form, UnfitAnswer, read_form
from stages.vision.gemini_files import GeminiFiles, UploadFailed
from stages.vision.reply_cache import ReplyCache

OBJECTION = (
    "That answer cannot be used: {why}. Answer the same again, as one JSON object with all of the "
    "fields that were asked for, and nothing besides."
)


KIND = "vision-api"
"""The kind of an ending by the server's fault."""


class Asker:
    """One question, asked about one thing after another; every answer is kept. Without a client
    nothing is sent: only what is kept is answered. `files` are for what is too large to be sent
    within a request."""

    def __init__(
        self,
        client: ApiClient[Subject, Reply] | None,
        cache: ReplyCache,
        files: GeminiFiles | None = None,
    ) -> None:
        self.client = client
        self.cache = cache
        self.files = files

    async def close(self) -> None:
        if self.files is not None:
            await self.files.close()
        if self.client is not None:
            await self.client.close()

    def drain(self) -> None:
        """The run takes nothing new: what waits for its turn is not sent any more."""
        if self.client is not None:
            self.client.drain()

    def bound(self) -> str | None:
        """What bounds the calls, as `Stage.bound` says it."""
        return self.client.bound() if self.client is not None else None

    async def ask(self, subject: Subject) -> str:
        """The answer, from the cache or from the model; on disk before it is returned.

        Raises Permanent, of kind "refused", where the model or the server refuses to answer;
        Transient or Throttled, of kind "vision-api", where it fails; and the client's errors that
        concern every call; NotUploaded where the server does not take what is too large for a
        request. Without a client it raises WouldAsk where no answer is kept.
        """
        client, key = self.client, self.cache.key(subject.content)
        if client is None:
            reply = await self.cache.read(key)
            if reply is None:
                raise WouldAsk(subject)
            return _answer(reply)
        answered = False
        uploads = AsyncExitStack()

        async def ask() -> Reply:
            nonlocal answered
            answered = True
            return await client.ask(await uploads.enter_async_context(self._sendable(subject)))

        try:
            async with uploads:  # until the answer is on disk: a kill must not lose it meanwhile
                reply = await self.cache.get(key, ask)
        except UploadFailed as fault:
            if fault.after is not None:
                raise Throttled(str(fault), after=fault.after, key=client.host, kind=KIND) from None
            raise put_off(client, str(fault), KIND) from None
        except ServerFailed as fault:
            if fault.is_the_questions(client.gate.answers):
                raise Transient(f"{fault}, and it answers others", kind=KIND) from None
            raise put_off(client, str(fault), KIND) from None
        except CallFailed as error:
            raise Permanent(str(error), kind="refused") from None
        client.proven |= not answered
        return _answer(reply)

    @asynccontextmanager
    async def _sendable(self, subject: Subject) -> AsyncIterator[Subject]:
        """The same, with its clip uploaded where it is too large for a request."""
        clip = subject.clip
        if self.files is None or clip is None or clip.file is None:
            yield subject
            return
        async with self.files.uploaded(clip.file, clip.mime) as uri:
            yield replace(subject, clip=replace(clip, uri=uri))

    async def fill(
        self,
        form: type[Form],
        subject: Subject,
        check: Callable[[Form], None] = lambda filled: None,
    ) -> Form:
        """The form that the model filled in. An answer that does not fit, or that `check` raises
        UnfitAnswer for, is asked for once more, with what is wrong with it.

        Raises as `ask` does, and Permanent, of kind "unfit", where the second answer does not fit
        either: both are kept, so that asking again gives the same.
        """
        answer = await self.ask(subject)
        try:
            return _read(form, answer, check)
        except UnfitAnswer as why:
            again = replace(subject, before=(answer, OBJECTION.format(why=why)))
        try:
            return _read(form, await self.ask(again), check)
        except UnfitAnswer as why:
            reason = f"the model's answer did not fit, nor did its second one: {why}"
            raise Permanent(reason, kind="unfit") from None


def _answer(reply: Reply) -> str:
    if reply.text is None:
        raise Permanent(reply.refusal or "the model answered nothing", kind="refused")
    return reply.text


def _read(form: type[Form], answer: str, check: Callable[[Form], None]) -> Form:
    filled = read_form(form, answer)
    check(filled)
    return filled
