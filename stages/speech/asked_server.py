"""A server as a backend: every answer is kept, and its faults are told in the engine's endings."""

from collections.abc import Mapping
from typing import Any

from engine import Permanent
from stages.calls.client import ApiClient
from stages.calls.errors import CallFailed, ServerFailed, WouldAsk
from stages.calls.kept_answers import KeptAnswers
from stages.calls.outages import put_off
from stages.speech.heard import Heard, SpeechClip, heard

KIND = "speech-api"


class KeptTranscripts(KeptAnswers[Heard]):
    """What a server answered about clips."""

    def key_of(self, clip: SpeechClip) -> str:
        return self.key(clip.content, language=clip.language, prompt=clip.prompt)

    def parse(self, kept: Mapping[str, Any]) -> Heard | None:
        return heard(kept)

    def entry(self, answer: Heard) -> dict[str, Any]:
        return answer.entry()


class AskedServer:
    """Asks about a clip once, and never again. Without a client nothing is sent: only what is kept
    is answered."""

    def __init__(
        self, client: ApiClient[SpeechClip, Heard] | None, kept: KeptTranscripts, made_by: str
    ) -> None:
        self.made_by = made_by
        self.client = client
        self._kept = kept

    async def hear(self, clip: SpeechClip) -> Heard:
        """Raises Permanent, kind "refused", where the server takes this clip from nobody; Transient
        and Throttled, kind "speech-api", where it fails or is away; and the client's StopRun.
        Without a client it raises WouldAsk where no answer is kept."""
        client, key = self.client, self._kept.key_of(clip)
        if client is None:
            answer = await self._kept.read(key)
            if answer is None:
                raise WouldAsk(clip)
            return answer
        try:
            return await self._kept.get(key, lambda: client.ask(clip))
        except ServerFailed as error:
            raise put_off(client, str(error), KIND) from None
        except CallFailed as error:
            raise Permanent(str(error), kind="refused") from None

    def bound(self) -> str | None:
        return self.client.bound() if self.client is not None else None

    def drain(self) -> None:
        """Calls that wait for their turn are not sent any more: `hear` raises Withdrawn."""
        if self.client is not None:
            self.client.drain()

    async def close(self) -> None:
        if self.client is not None:
            await self.client.close()
