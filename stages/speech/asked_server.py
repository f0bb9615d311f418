"""A server as a backend: every answer is kept, and its faults are told in the engine's endings."""

from collections.abc import Mapping
from typing import Any

from engine import Permanent
from stages.calls.client import ApiClient
from stages.calls.errors import CallFailed, ServerFailed
from stages.calls.kept_answers import KeptAnswers
from stages.calls.outages import put_off
from stages.speech.heard import Heard, SpeechClip, heard

KIND = "speech-api"


class KeptTranscripts(KeptAnswers[Heard]):
    """What a server answered about clips."""

    def parse(self, kept: Mapping[str, Any]) -> Heard | None:
        return heard(kept)

    def entry(self, answer: Heard) -> dict[str, Any]:
        return answer.entry()


class AskedServer:
    """Asks about a clip once, and never again."""

    def __init__(
        self, client: ApiClient[SpeechClip, Heard], kept: KeptTranscripts, made_by: str
    ) -> None:
        self.made_by = made_by
        self.client = client
        self._kept = kept

    async def hear(self, clip: SpeechClip) -> Heard:
        """Raises Permanent, kind "refused", where the server takes this clip from nobody; Transient
        and Throttled, kind "speech-api", where it fails or is away; and the client's StopRun."""
        try:
            return await self._kept.get(self._kept.key(clip.content), lambda: self.client.ask(clip))
        except ServerFailed as error:
            raise put_off(self.client, str(error), KIND) from None
        except CallFailed as error:
            raise Permanent(str(error), kind="refused") from None

    async def close(self) -> None:
        await self.client.close()
