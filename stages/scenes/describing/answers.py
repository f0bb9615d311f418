"""What a model is asked to fill in about a scene, and about a video.

The fields' descriptions are part of the question.
"""

from pydantic import BaseModel, ConfigDict, Field


class AnswerForm(BaseModel):
    """Whole when it is made; what a model answers beside the fields is left out."""

    model_config = ConfigDict(frozen=True)


class Description(AnswerForm):
    """A scene in words."""

    description: str = Field(
        min_length=1, description="Two or three sentences on what happens in the scene."
    )
    tags: tuple[str, ...] = Field(description="Up to ten words to find it by, in lower case.")
    people: tuple[str, ...] = Field(
        description="Each person who can be seen, in a few words; no names that nobody says."
    )
    actions: tuple[str, ...] = Field(description="What is done, each in a few words.")
    setting: str = Field(description="Where and when it takes place, in a few words.")
    text_seen: tuple[str, ...] = Field(description="Text that can be read, word by word.")


class ChapterAnswer(AnswerForm):
    """A chapter as a model states it."""

    first: int = Field(description="The number of its first scene.")
    title: str = Field(min_length=1, description="A few words.")
    summary: str = Field(min_length=1, description="One or two sentences.")


class VideoAnswer(AnswerForm):
    """A video, or a stretch of it, in words."""

    title: str = Field(min_length=1, description="A few words that tell it from other videos.")
    summary: str = Field(min_length=1, description="Three to five sentences on what happens.")
    tags: tuple[str, ...] = Field(description="Up to fifteen words to find it by, in lower case.")
    chapters: tuple[ChapterAnswer, ...] = Field(
        min_length=1,
        description="Its chapters, in order, each of the scenes from its first on to the next "
        "one's: as few as tell the parts apart. The first one begins with the first scene.",
    )


class VideoChapter(BaseModel):
    """A chapter of a video; times are seconds of it, scenes their places in it, from 0."""

    model_config = ConfigDict(frozen=True)

    title: str
    summary: str
    start: float
    end: float
    first_scene: int
    last_scene: int


class UndescribedScenes(BaseModel):
    """Scenes without a description, and why."""

    model_config = ConfigDict(frozen=True)

    why: str
    scenes: tuple[int, ...]


class VideoSummary(BaseModel):
    """What summary.json holds."""

    model_config = ConfigDict(frozen=True)

    title: str
    summary: str
    tags: tuple[str, ...]
    chapters: tuple[VideoChapter, ...]
    missing: tuple[int, ...] = Field(description="The scenes that have no description.")
    missing_why: tuple[UndescribedScenes, ...] = Field(
        (), description="The same scenes by the reason why."
    )
    made_by: str
