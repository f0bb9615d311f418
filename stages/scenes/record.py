"""The record of a scene: what the pipeline says of it. `schema()` is its JSON Schema."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

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


class SceneObject(Frozen):
    """The objects of one class in the scene."""

    name: str = Field(alias="class", description="The class's name, as the detector has it.")
    ids: int = Field(ge=0, description="Objects told apart: more than there are where one is lost.")
    most_at_once: int = Field(gt=0, description="The most of them in one frame.")
    first_seen: float = Field(ge=0, description="The second of the first frame with one.")
    last_seen: float = Field(ge=0)


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
    sound: Sound | None = Field(description="Null where the video has no sound.")
    objects: tuple[SceneObject, ...] | None = Field(
        None, description="By class, in alphabetical order; null where nobody looked for any."
    )
    made_by: dict[str, str] = Field(description="What made each field, by the field's name.")


def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    return SceneRecord.model_json_schema()
