"""A model's choice among the candidates, in one call about a contact sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, Field

from engine import Permanent
from stages.calls.errors import WouldAsk
from stages.calls.sent_calls import SentCalls, write_calls
from stages.recipe.frames.candidates import FrameCandidate
from stages.recipe.frames.choice import choose_looks, ends_of
from stages.recipe.frames.sheet import contact_sheet, sheet_places
from stages.vision.api import Subject
from stages.vision.asking import Asker
from stages.vision.connection import IMAGE_TOKENS, api_of
from stages.vision.counts import Counts
from stages.vision.forms import UnfitAnswer, read_form
from stages.vision.words_settings import WordsSettings, host_of, made_by, open_asker, question_of

MAX_TOKENS = 300
"""Of an answer: some numbers."""

ENDS = 2
"""Frames that are taken whatever the model says: the first and the last."""


class PickedFrames(BaseModel):
    """Which pictures of a contact sheet are worth a look."""

    model_config = ConfigDict(frozen=True)

    numbers: tuple[int, ...] = Field(description="The number of each picture that is chosen.")


LOOKS = "looks"
"""The `made_by` of a choice that no model made."""


@dataclass(frozen=True, slots=True)
class FramePick:
    """The places of the frames that are chosen, ascending; who chose them; and the reason why that
    is not the model, which was to. `counted` is what a dry run would have sent."""

    places: list[int]
    made_by: str
    note: str | None = None
    counted: Counts | None = None


SHEET_PROMPT = (
    "The picture is a contact sheet of one video: small pictures in the order of time, each with "
    "its number in the corner. Somebody who sees only a few of them will write a document about "
    "the whole video. Choose those that tell most of what happens: each step, each thing and each "
    "text that matters, sharp, and no two that show the same. You are told how many at most."
)


class FramePicker:
    """Has a model choose among the candidates of one video after another; each answer is kept."""

    def __init__(self, settings: WordsSettings, workdir: Path, step: str) -> None:
        """`settings` are those of who is asked, which `step` has. Opens the client: call it on the
        run's event loop. Raises UsageError where the public server's key is missing."""
        told = {"prompt": SHEET_PROMPT, "max_tokens": MAX_TOKENS}
        self._settings = settings.model_copy(update=told)
        self._workdir = workdir
        self._question = question_of(self._settings, PickedFrames)
        self._asker: Asker = open_asker(
            self._settings, self._question, workdir, step=step, expected_tokens=IMAGE_TOKENS
        )

    async def close(self, name: str) -> None:
        """What became of this run's requests is kept under the step's name."""
        await self._asker.close()
        client = self._asker.client
        write_calls(self._workdir, name, client.calls if client is not None else SentCalls())

    async def pick(self, candidates: Sequence[FrameCandidate], most: int) -> FramePick:
        """The model's choice, with the first and the last; or the choice by looks, where its answer
        cannot be used. Raises as `Asker.ask` does, but where the model refuses."""
        looks = [one.look for one in candidates]
        places = sheet_places(looks)
        sheet = await run_sync(contact_sheet, [candidates[place] for place in places])
        subject = Subject((sheet,), f"Choose {most - ENDS} pictures at most.")

        def by_looks(note: str | None, counted: Counts | None = None) -> FramePick:
            return FramePick(choose_looks(looks, most), LOOKS, note, counted)

        try:
            numbers = _numbers(await self._asker.ask(subject), len(places), most - ENDS)
        except WouldAsk:
            request = api_of(self._question, self._settings).request(subject)
            counts = Counts.of(host_of(self._settings), self._question, subject, request)
            return by_looks("nobody was asked", counts)
        except (UnfitAnswer, Permanent) as why:
            return by_looks(f"the model's choice cannot be used: {why}", self._kept())
        ends = ends_of(looks)
        inner = {places[number - 1] for number in numbers}
        return FramePick(sorted({*ends, *inner}), made_by(self._settings), counted=self._kept())

    def _kept(self) -> Counts | None:
        """What a dry run counts of an answer that is kept."""
        return Counts(host_of(self._settings), kept=1) if self._settings.dry_run else None


def _numbers(answer: str, count: int, most: int) -> tuple[int, ...]:
    """The numbers in an answer about `count` pictures, `most` at most. Raises UnfitAnswer."""
    numbers = tuple(dict.fromkeys(read_form(PickedFrames, answer).numbers))
    if not numbers:
        raise UnfitAnswer("it names no picture")
    if wrong := [number for number in numbers if not 1 <= number <= count]:
        raise UnfitAnswer(f"there is no picture {wrong[0]} among {count}")
    if len(numbers) > most:
        raise UnfitAnswer(f"it names {len(numbers)} pictures of {most} at most")
    return numbers
