"""The sentences that detections make."""

import random

import pytest

from stages.crawl.sentence import NOTHING, compose, counted, plural


def seen(name: str, left: float, top: float, right: float, bottom: float) -> dict[str, object]:
    return {"class": name, "confidence": 0.9, "box": [left, top, right, bottom]}


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("person", "people"),
        ("bus", "buses"),
        ("knife", "knives"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("skis", "skis"),
        ("scissors", "scissors"),
        ("bench", "benches"),
        ("sandwich", "sandwiches"),
        ("toothbrush", "toothbrushes"),
        ("couch", "couches"),
        ("wine glass", "wine glasses"),
        ("traffic light", "traffic lights"),
        ("potted plant", "potted plants"),
        ("giraffe", "giraffes"),
        ("broccoli", "broccoli"),
        ("box", "boxes"),
        ("lorry", "lorries"),
        ("toy", "toys"),
        ("woman", "women"),
        ("fireman", "firemen"),
        ("human", "humans"),
        ("child", "children"),
        ("Person", "People"),
        ("leaf", "leaves"),
        ("roof", "roofs"),
        ("tomato", "tomatoes"),
        ("piano", "pianos"),
        ("person with helmet", "people with helmet"),
    ],
)
def test_plurals(noun: str, many: str) -> None:
    assert plural(noun) == many


@pytest.mark.parametrize(
    ("noun", "count", "text"),
    [
        ("apple", 1, "an apple"),
        ("umbrella", 1, "an umbrella"),
        ("unicorn", 1, "a unicorn"),
        ("hourglass", 1, "an hourglass"),
        ("scissors", 1, "a pair of scissors"),
        ("skis", 3, "three pairs of skis"),
        ("sheep", 12, "twelve sheep"),
        ("sheep", 13, "13 sheep"),
    ],
)
def test_counts_in_words(noun: str, count: int, text: str) -> None:
    assert counted(noun, count) == text


@pytest.mark.parametrize(
    ("detections", "sentence"),
    [
        ([], NOTHING),
        ([seen("person", 10, 100, 60, 250)], "A person at the left."),
        ([seen("traffic_light", 500, 10, 540, 80)], "A traffic light at the top right."),
        ([seen("dog", 0, 0, 640, 350)], "A dog filling most of the frame."),
        (
            [
                seen("car", 300, 150, 340, 200),
                seen("person", 10, 100, 110, 260),
                seen("person", 400, 100, 420, 150),
            ],
            "Two people and a car; the largest, a person, is at the left.",
        ),
        (
            [seen("car", 250, 100, 400, 260), seen("person", 10, 100, 30, 150)],
            "A car and a person; the larger, the car, is in the centre.",
        ),
        (
            [seen("bus", 250, 240, 400, 360), seen("bus", 10, 100, 30, 150)],
            "Two buses; the larger is at the bottom.",
        ),
        (
            [
                seen("knife", 0, 0, 9, 9),
                seen("knife", 0, 0, 8, 8),
                seen("mouse", 0, 0, 7, 7),
                seen("scissors", 500, 0, 600, 90),
            ],
            "Two knives, a pair of scissors and a mouse; "
            "the largest, the pair of scissors, is at the top right.",
        ),
    ],
)
def test_sentences(detections: list[dict[str, object]], sentence: str) -> None:
    assert compose(detections, 640, 360) == sentence


def test_the_order_of_the_detections_does_not_matter() -> None:
    detections = [
        seen(name, left, 0, left + 40, 40)
        for name in ("cat", "dog", "person")
        for left in (0, 200, 500)
    ]
    sentences = set()
    for seed in range(20):
        random.Random(seed).shuffle(detections)
        sentences.add(compose(detections, 640, 360))
    assert len(sentences) == 1


def test_no_position_where_the_size_of_the_frame_is_not_known() -> None:
    assert compose([seen("cat", 0, 0, 9, 9)], None, None) == "A cat."
