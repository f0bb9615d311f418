"""A table of others on how long a recipe takes, and what follows from it: bounds, and a service's
tempo."""

import math
from dataclasses import dataclass

from benchmarks.recipe_service import Tempo

TABLE = {
    "analysis of the frames": 23.94,
    "upload of the video": 11.77,
    "writing": 5.80,
    "vectors": 2.06,
    "upload of the frames": 1.78,
    "extraction": 0.96,
    "database": 0.62,
}
FRAMES = 7


@dataclass(frozen=True)
class RecipeClock:
    """The table's time, which runs so many times `faster`."""

    faster: float = 1.0

    def real(self, name: str) -> float:
        return TABLE[name] / self.faster

    @property
    def tempo(self) -> Tempo:
        return Tempo(
            looking=self.real("analysis of the frames") / FRAMES,
            writing=self.real("writing"),
            embedding=self.real("vectors"),
            video=self.real("upload of the video"),
            frame=self.real("upload of the frames") / FRAMES,
        )

    @property
    def words_path(self) -> float:
        """Seconds of the chain that a document needs: extraction, the slowest frame, writing."""
        return TABLE["extraction"] + TABLE["analysis of the frames"] / FRAMES + TABLE["writing"]

    @property
    def link_path(self) -> float:
        """Seconds that all of a video's files take on the link, which is never idle meanwhile: the
        video is there from the beginning."""
        return TABLE["upload of the video"] + TABLE["upload of the frames"]

    @property
    def stored_path(self) -> float:
        """Seconds of the chain that takes longest until all is stored: the document and the vectors
        of its entries; or the uploads; and then the database, with the links in it."""
        vectors = max(TABLE["vectors"] - TABLE["database"], 0.0)
        return max(self.words_path + vectors, self.link_path) + TABLE["database"]

    def paths_of(self, videos: int, calls: int) -> tuple[float, float]:
        """The same two of so many videos with `calls` calls at once: the link is shared, and frames
        take turns."""
        rounds = math.ceil(videos * FRAMES / calls)
        looking = TABLE["analysis of the frames"] / FRAMES * rounds
        words = TABLE["extraction"] + looking + TABLE["writing"]
        return words, max(words, videos * self.link_path) + TABLE["database"]
