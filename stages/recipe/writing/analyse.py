"""The analyse stage: notes of one frame, for whoever writes of the whole video.

It writes `notes.json`: the notes, the second of the frame, and what made them.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, Field

from engine import Item, setting
from stages.calls.errors import WouldAsk
from stages.calls.settings import concurrency_setting
from stages.recipe.frames.frames import ASKED, FRAME
from stages.vision.api import Subject
from stages.vision.connection import IMAGE_TOKENS
from stages.vision.counts import write_counts
from stages.vision.words_settings import FREE, Backend, WordsSettings, made_by
from stages.vision.words_stage import WordsStage

NOTES = "notes.json"
NOBODY = "nobody"
"""The `made_by` of notes that no model wrote: they are empty."""

FRAME_PROMPT = (
    "You take notes of one frame of a video, for somebody who will write a document about the "
    "whole video from such notes alone. Write down what can be seen, with every amount, label and "
    "reading that can be read or counted. State nothing that the picture does not show."
)


class FrameNotes(BaseModel):
    """A frame in words."""

    model_config = ConfigDict(frozen=True)

    description: str = Field(description="One or two sentences: what is shown, what is done.")
    things: tuple[str, ...] = Field(
        description="Each thing that matters, with its amount where it shows: '2 eggs', 'a pan'."
    )
    actions: tuple[str, ...] = Field(description="What is being done, each in a few words.")
    text_seen: tuple[str, ...] = Field(description="Text that can be read, word by word.")


NOTHING = FrameNotes(description="", things=(), actions=(), text_seen=())


class AnalyseFrame(WordsStage):
    """Take notes of a frame, in one call; frames that show the same share one answer.

    Of `frame` it reads frame.json and the picture beside it. The picture alone is asked about, so
    an answer serves for every frame with that picture.
    """

    name = "analyse"
    inputs = "frame"
    # As many workers as calls in flight: all frames of a video are asked about at once.
    defaults: ClassVar[dict[str, Any]] = {
        **WordsStage.defaults,
        "workers": 16,
        "queue": 32,
        "optional": False,
    }
    form = FrameNotes
    too_large = "; smaller pictures may pass: stages.frames.size"

    class Settings(WordsSettings):
        backend: Backend = setting(
            FREE,
            'Who looks at the frames: "found" (nobody: what is known without looking), "openai" '
            '(any OpenAI-compatible server) or "gemini".',
        )
        prompt: str = setting(FRAME_PROMPT, "What the model is told to do.", min_length=1)
        max_tokens: int = setting(500, "Tokens that the notes of a frame may take.", gt=0)
        concurrency: int = concurrency_setting(16)

    settings: "AnalyseFrame.Settings"

    def expected_tokens(self) -> float:
        return IMAGE_TOKENS

    async def process(self, item: Item, out: Path) -> None:
        """Raises as `Asker.fill` does. With `dry_run` it writes counts, and notes only where the
        answer is kept."""
        folder = item.input("frame")
        at = json.loads(await run_sync((folder / FRAME).read_text))["at"]
        if self.asker is None:
            await run_sync(_write, out, at, NOTHING, NOBODY)
            return
        subject = Subject((await run_sync((folder / ASKED).read_bytes),))
        try:
            notes = await self.asker.fill(FrameNotes, subject)
        except WouldAsk as would:
            await run_sync(write_counts, out, [self.count(would.question)])
            return
        await run_sync(_write, out, at, notes, made_by(self.settings))
        if self.settings.dry_run:
            await run_sync(write_counts, out, [self.count(subject)])


def _write(out: Path, at: float, notes: FrameNotes, by: str) -> None:
    told = {"at": at, **notes.model_dump(mode="json"), "made_by": by}
    (out / NOTES).write_text(f"{json.dumps(told, indent=2, ensure_ascii=False)}\n", "utf-8")
