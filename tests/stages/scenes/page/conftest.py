"""Two videos in a work folder: a local one with sound that was told much of, and a silent one."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.stages.scenes.page import films
from tests.stages.scenes.page.films import HOSTILE, described
from tests.stages.scenes.test_pipeline import with_sound
from tests.stages.scenes.test_scenes import clip


class Films(NamedTuple):
    work: Path
    talk: str
    silent: str
    file: Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Films:
    made = tmp_path_factory.mktemp("films")
    talk = with_sound(made / "talk.mp4", begins=2.0, ends=6.0)
    silent = clip(made / "crème <i>.mp4", 60, (30,))
    work = made / "work"
    films.run(work, talk, silent)
    said = [
        {"start": 2.4, "end": 3.0, "text": "First we chop the onions.", "words": []},
        {"start": 3.2, "end": 4.0, "text": f"Then {HOSTILE}", "words": [], "doubtful": True},
        *(
            {"start": 4 + n / 8, "end": 4.1 + n / 8, "text": f"So {n}.", "words": []}
            for n in range(8)
        ),
    ]
    talk_id = films.tell(
        work,
        talk,
        [
            {"description": described("A dog waits at a gate.", "dog", setting="a yard")},
            {
                "description": described(f"A cook {HOSTILE} in a kitchen.", "kitchen", "cook"),
                "speech": {"language": "en", "text": "", "segments": said},
                "objects": [
                    {
                        "class": "person",
                        "ids": 2,
                        "most_at_once": 2,
                        "first_seen": 2,
                        "last_seen": 5,
                    }
                ],
                "sounds": [{"label": "Sizzle", "score": 0.8}],
                "captions": [{"timestamp": 3, "text": "a man with a knife"}],
                "gaps": [{"branch": "speech", "why": "the server was down", "start": 5, "end": 6}],
                "speech_without_words": [{"start": 5.0, "end": 5.5}],
            },
        ],
    )
    silent_id = films.tell(
        work, silent, [{"description": described("Une crème brûlée auf der Straße.")}, {}]
    )
    return Films(work, talk_id, silent_id, talk)
