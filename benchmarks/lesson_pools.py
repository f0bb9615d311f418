"""How scripts become videos by thread pools, as people write it: plainly, and calls alone."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass(frozen=True)
class ScriptedSection:
    """What is asked for a section."""

    image: str
    text: str


Call = Callable[[str], object]
"""Has a text drawn, or spoken."""

Video = Sequence[ScriptedSection]


@dataclass(frozen=True)
class ThreadPools:
    """So many videos at once, so many sections of each, and a section's picture and voice side by
    side where `both`. One of each, and not: all calls one after the other."""

    draw: Call
    speak: Call
    videos: int = 1
    sections: int = 1
    both: bool = False

    def make(self, videos: Sequence[Video]) -> None:
        with ThreadPoolExecutor(self.videos) as pool:
            list(pool.map(self._video, videos))

    def _video(self, video: Video) -> None:
        with ThreadPoolExecutor(self.sections) as pool:
            list(pool.map(self._section, video))

    def _section(self, section: ScriptedSection) -> None:
        if not self.both:
            self.draw(section.image)
            self.speak(section.text)
            return
        with ThreadPoolExecutor(2) as pool:
            drawn = pool.submit(self.draw, section.image)
            spoken = pool.submit(self.speak, section.text)
            drawn.result()
            spoken.result()
