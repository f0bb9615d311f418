"""One plain English sentence from detections: the objects, their numbers,
the largest one's place."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "Nothing that the detector knows is in view."

_NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]

_IRREGULAR = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "hero": "heroes",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "tooth": "teeth",
} | {
    # Not every noun in -f: roofs, chefs and cliffs are regular.
    word: re.sub("fe?$", "ves", word)
    for word in [
        "calf",
        "elf",
        "half",
        "knife",
        "leaf",
        "life",
        "loaf",
        "scarf",
        "shelf",
        "thief",
        "wife",
        "wolf",
    ]
}

_UNCHANGED = {"aircraft", "bison", "broccoli", "deer", "fish", "moose", "salmon", "sheep", "shrimp"}

_PAIRS = {
    "binoculars",
    "glasses",
    "goggles",
    "headphones",
    "jeans",
    "pants",
    "pliers",
    "scissors",
    "shorts",
    "skis",
    "sunglasses",
    "tongs",
    "trousers",
    "tweezers",
}

_NOT_A_MAN = {"caiman", "german", "human", "ottoman", "roman", "shaman", "talisman"}

_PREPOSITION = re.compile(r" (?:with|without|on|in|of|at|for) ")


def plural(noun: str) -> str:
    """The plural of a class name, which may be several words: "wine glass" -> "wine glasses"."""
    if found := _PREPOSITION.search(noun):
        return plural(noun[: found.start()]) + noun[found.start() :]
    before, space, word = noun.rpartition(" ")
    return before + space + _plural_word(word)


def _plural_word(word: str) -> str:
    lower = word.lower()
    if lower in _UNCHANGED or lower in _PAIRS:
        return word
    if lower in _IRREGULAR:
        return word[:1] + _IRREGULAR[lower][1:]
    if lower.endswith("man") and lower not in _NOT_A_MAN:
        return word[:-2] + "en"
    if re.search("[^aeiou]y$", lower):
        return word[:-1] + "ies"
    if re.search("(?:s|x|z|ch|sh)$", lower):
        return word + "es"
    return word + "s"


def counted(noun: str, count: int) -> str:
    """The number of the noun, in words up to twelve: "an apple", "two people", "13 sheep"."""
    if noun.rpartition(" ")[2].lower() in _PAIRS:
        return f"{counted('pair', count)} of {noun}"
    if count == 1:
        return f"{_article(noun)} {noun}"
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return f"{number} {plural(noun)}"


def _article(noun: str) -> str:
    # By sound: a unicorn, a one-way sign, an hourglass.
    if re.match("hour|honest|heir", noun, re.IGNORECASE):
        return "an"
    if re.match("uni(?!n)|use|usu|uten|eu|one\\b|once", noun, re.IGNORECASE):
        return "a"
    return "an" if noun[:1].lower() in "aeiou" else "a"


def compose(
    detections: Sequence[Mapping[str, Any]], width: float | None, height: float | None
) -> str:
    """The sentence for one frame of `width` by `height` pixels, None where these are not known.

    A detection holds "class" and "box" (x1, y1, x2, y2 in pixels). The same detections give the
    same sentence in any order.
    """
    if not detections:
        return NOTHING
    # By falling area, so that the first of each class is its largest; ties in a fixed order.
    seen = sorted(
        (-_area(found["box"]), _spoken(found["class"]), *found["box"]) for found in detections
    )
    counts = Counter(noun for _, noun, *_ in seen)
    things = _joined([counted(noun, count) for noun, count in counts.most_common()])
    things = things[0].upper() + things[1:]
    _, noun, *box = seen[0]
    where = _place(box, width, height)
    if where is None:
        return f"{things}."
    if len(seen) == 1:
        return f"{things} {where}."
    degree = "larger" if len(seen) == 2 else "largest"
    if len(counts) == 1:
        return f"{things}; the {degree} is {where}."
    which = counted(noun, 1)
    if counts[noun] == 1:
        which = "the " + which.partition(" ")[2]
    return f"{things}; the {degree}, {which}, is {where}."


def _spoken(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip() or "object"


def _joined(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _area(box: Sequence[float]) -> float:
    left, top, right, bottom = box
    return float(max(0, right - left) * max(0, bottom - top))


def _place(box: Sequence[float], width: float | None, height: float | None) -> str | None:
    """The place of the box's centre, on a grid of three by three."""
    if not width or not height:
        return None
    left, top, right, bottom = box
    if _area(box) >= 0.6 * width * height:
        return "filling most of the frame"
    across = ("left", "", "right")[_third((left + right) / 2 / width)]
    down = ("top", "", "bottom")[_third((top + bottom) / 2 / height)]
    if not across and not down:
        return "in the centre"
    return "at the " + " ".join(word for word in (down, across) if word)


def _third(share: float) -> int:
    return min(2, max(0, int(share * 3)))
