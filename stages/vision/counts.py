"""What a dry run counts in the place of answers."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.calls.api import Request
from stages.files.json_lines import read_lines, write_lines
from stages.vision.api import FormQuestion, Subject
from stages.vision.connection import IMAGE_TOKENS
from stages.vision.video_clip import watched_tokens

COUNTS = "requests.jsonl"


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls that a run would make now, and what leaves this machine to `host` with them.

    `kept` are those whose answer is kept: they are neither sent nor paid. `seconds` are those of
    video that the model watches in `clips`. `tokens` is an estimate
    of what the others cost, their answers included; `bytes` what is sent.
    """

    host: str
    calls: int = 0
    kept: int = 0
    images: int = 0
    clips: int = 0
    seconds: float = 0.0
    tokens: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, host: str, question: FormQuestion, subject: Subject, request: Request) -> "Counts":
        """One call with this question about it, by this request."""
        text = len(question.prompt) + len(subject.data)
        images, clip = len(subject.images), subject.clip
        watched = watched_tokens(clip.seconds, clip.fps, question.detail) if clip is not None else 0
        return cls(
            host,
            calls=1,
            images=images,
            clips=int(clip is not None),
            seconds=clip.seconds if clip is not None else 0.0,
            tokens=text // 4 + images * IMAGE_TOKENS + watched + question.max_tokens,
            bytes=len(request.content) + (clip.size if clip is not None and clip.file else 0),
        )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            other.host,
            self.calls + other.calls,
            self.kept + other.kept,
            self.images + other.images,
            self.clips + other.clips,
            self.seconds + other.seconds,
            self.tokens + other.tokens,
            self.bytes + other.bytes,
        )


def write_counts(out: Path, counts: Iterable[Counts]) -> None:
    write_lines(out / COUNTS, map(asdict, counts))


def read_counts(out: Path) -> list[Counts]:
    """None where the output is no dry run's."""
    file = out / COUNTS
    return [Counts(**line) for line in read_lines(file)] if file.is_file() else []
