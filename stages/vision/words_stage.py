"""What steps that write words have in common: a model that fills in a form, or a count."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel

from engine import Stage
from stages.calls.sent_calls import SentCalls, write_calls
from stages.vision.api import FormQuestion, Subject
from stages.vision.asking import Asker
from stages.vision.connection import api_of
from stages.vision.counts import Counts
from stages.vision.words_settings import (
    FREE,
    WordsSettings,
    host_of,
    open_asker,
    question_of,
)


class WordsStage(Stage, ABC):
    """The base of steps that write words.

    One instance serves the whole pool. Every paid answer is kept under WORKDIR/cache, so that none
    is paid twice.
    """

    # On a free plan items wait for a day's requests; each call has its own, short timeout.
    defaults: ClassVar[dict[str, Any]] = {
        "timeout": 86400.0,
        "patience": 172800.0,
        "optional": True,
    }
    item_failures = frozenset({"refused", "unfit"})

    form: ClassVar[type[BaseModel]]
    """What the model fills in."""

    too_large: ClassVar[str] = ""
    """The remedy for a request that is refused for its size."""

    settings: WordsSettings
    asker: Asker | None = None
    """None where the words are composed."""

    @property
    def is_free(self) -> bool:
        """Whether the words are composed, without a model."""
        return self.settings.backend in (None, FREE)

    @abstractmethod
    def expected_tokens(self) -> float:
        """The first estimate of what a call takes beside the prompt and the answer."""

    def question(self) -> FormQuestion:
        """What the model is asked."""
        return question_of(self.settings, self.form)

    async def open(self) -> None:
        """Raises UsageError where the public server's key is missing."""
        if not self.is_free:
            self.asker = open_asker(
                self.settings,
                self.question(),
                self.workdir,
                step=self.name,
                expected_tokens=self.expected_tokens(),
                too_large=self.too_large,
            )

    def bound(self) -> str | None:
        return self.asker.bound() if self.asker is not None else None

    def drain(self) -> None:
        if self.asker is not None:
            self.asker.drain()

    async def close(self) -> None:
        """What became of this run's requests is kept under WORKDIR/cache."""
        if self.asker is not None:
            await self.asker.close()
        client = self.asker.client if self.asker is not None else None
        write_calls(self.workdir, self.name, client.calls if client is not None else SentCalls())

    def count(self, subject: Subject) -> Counts:
        """What asking about it would take now."""
        assert self.asker is not None
        if self.asker.cache.has(self.asker.cache.key(subject.content)):
            return Counts(host_of(self.settings), kept=1)
        question = self.question()
        request = api_of(question, self.settings).request(subject)
        return Counts.of(host_of(self.settings), question, subject, request)
