"""The record of a scene: what the pipeline says of it. `schema()` is its JSON Schema."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.scenes.describing.answers import Description

VERSION = 1
"""Of the record: a field that is added leaves it, one that changes its meaning raises it."""


class Frozen(BaseModel):
    """Whole when it is made; a field with another name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Frame(Frozen):
    """A sample frame: `file` is its path beside the record, `timestamp` its second in the video."""

    file: str
    timestamp: float = Field(ge=0)
    frame: int = Field(ge=0, description="Its number in the video, from 0.")
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class Sound(Frozen):
    """The sound of the scene, as it was recorded."""

    loudness: float | None = Field(
        description="The mean level in dB below full scale, 0 at most; null: there is no signal."
    )
    peak: float | None = Field(description="The highest level, likewise.")


class Caption(Frozen):
    """What a sample frame shows, in words; `timestamp` is the frame's."""

    timestamp: float = Field(ge=0)
    text: str


class SceneObject(Frozen):
    """The objects of one class in the scene."""

    name: str = Field(alias="class", description="The class's name, as the detector has it.")
    ids: int = Field(ge=0, description="Objects told apart: more than there are where one is lost.")
    most_at_once: int = Field(gt=0, description="The most of them in one frame.")
    first_seen: float = Field(ge=0, description="The second of the first frame with one.")
    last_seen: float = Field(ge=0)


class SpokenWord(Frozen):
    """A word, and when it is said."""

    start: float
    end: float
    word: str


class SpokenSegment(Frozen):
    """What is said in one go; where a cut goes through it, the part on this side."""

    start: float
    end: float
    text: str
    words: tuple[SpokenWord, ...]
    estimated: bool = Field(description="Whether the words' times are guessed from the segment's.")
    doubtful: bool = Field(description="Whether the model may have made it up.")


class Speech(Frozen):
    """What is said in the scene."""

    language: str | None = Field(description="As the model calls it; null where it does not say.")
    text: str
    segments: tuple[SpokenSegment, ...]


class SceneClip(Frozen):
    """The scene as a file of its own: `file` is its path beside the record. It begins at second
    `start` of the video, which, where it is a copy, may be before the scene does, and ends at
    `end`."""

    file: str
    start: float = Field(ge=0)
    end: float
    form: Literal["copy", "exact"] = Field(description="As it was, or encoded anew.")


class Gap(Frozen):
    """Something that should be in the record and is not."""

    branch: str = Field(description="The field that lacks it.")
    why: str
    start: float | None = Field(None, description="The second from which on; null: all of it.")
    end: float | None = None


class SoundTag(Frozen):
    """A sound by name: the mean of its scores over the windows that overlap the scene."""

    label: str
    score: float = Field(ge=0, le=1)


class TimeSpan(Frozen):
    """Some seconds of the video."""

    start: float = Field(ge=0)
    end: float


class SceneRecord(Frozen):
    """One scene of one video. Times are seconds from the video's first frame."""

    version: int = VERSION
    video: str = Field(description="The video's id.")
    index: int = Field(ge=0, description="The scene's place in the video, from 0.")
    start: float = Field(ge=0)
    end: float = Field(description="The second at which the next scene begins.")
    first_frame: int = Field(ge=0)
    after_frame: int = Field(description="The number of the frame after the last one.")
    frames: tuple[Frame, ...]
    thumbnail: str
    clip: SceneClip | None = Field(None, description="Null where nobody asked for any.")
    sound: Sound | None = Field(description="Null where the video has no sound.")
    captions: tuple[Caption, ...] | None = Field(
        None, description="Of the sample frames, in order; null where nobody made any."
    )
    objects: tuple[SceneObject, ...] | None = Field(
        None, description="By class, in alphabetical order; null where nobody looked for any."
    )
    sounds: tuple[SoundTag, ...] | None = Field(
        None, description="What is heard, the most likely first; null where nobody listened."
    )
    speech_without_words: tuple[TimeSpan, ...] | None = Field(
        None,
        description="Where speech or singing is heard and the transcript has no word; null without "
        "sounds or without a transcript.",
    )
    speech: Speech | None = Field(
        None, description="Null where there is no sound, or nobody listened to it."
    )
    description: Description | None = Field(None, description="The scene in words.")
    gaps: tuple[Gap, ...] = Field((), description="What failed, so that the record is without it.")
    made_by: dict[str, str] = Field(description="What made each field, by the field's name.")


def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    return SceneRecord.model_json_schema()
