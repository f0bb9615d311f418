"""The numbers of a dataset's classes, which stay stable as the dataset grows."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

FILE = "classes.json"


def numbered(
    wanted: Sequence[str], known: Iterable[Sequence[str]], seen: Iterable[str]
) -> list[str]:
    """The names of the classes; a name's index in the list is its number.

    First those of the setting stages.filter.classes, in its order. If it names none, the classes
    that the videos' weights know, in their order, even if none was seen. So two exports, and the
    parts of one list that several machines crawled, give a class the same number. Classes `seen`
    under other settings follow in alphabetical order.
    """
    names = dict.fromkeys(wanted)
    if not names:
        for each in known:
            names.update(dict.fromkeys(each))
    names.update(dict.fromkeys(sorted(seen)))
    return list(names)


def write_classes(folder: Path, names: Sequence[str]) -> None:
    """Write classes.json: a JSON list of the names."""
    (folder / FILE).write_text(json.dumps(names, ensure_ascii=False) + "\n", encoding="utf-8")


def read_classes(folder: Path) -> list[str]:
    """The names from classes.json; none where an earlier version built the dataset."""
    try:
        names = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
