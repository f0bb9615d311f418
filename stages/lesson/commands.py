"""`penstock lesson init` and `penstock lesson schema`."""

import json
from pathlib import Path
from typing import Any

import click

from engine import UsageError

SCRIPT = "lesson.json"

EXAMPLE: dict[str, Any] = {
    "title": "How tides work",
    "language": "en",
    "pronunciation": {"Fundy": "fun-dee"},
    "sections": [
        {
            "title": "The sea breathes",
            "text": "Twice a day the sea climbs the beach. Twice a day it goes back again.",
        },
        {
            "title": "The Moon pulls",
            "text": "Where the Moon stands above the sea, the sea rises.",
            "image": "The Moon over a beach at night, the water high.",
        },
        {
            "title": "The highest tide",
            "text": "In the Bay of Fundy the water rises by sixteen metres.",
        },
        {"title": "Goodbye", "seconds": 2},
    ],
}
"""A script that needs nothing but this machine."""


@click.command
@click.argument("file", metavar="[FILE]", default=SCRIPT, type=click.Path(path_type=Path))
def init(file: Path) -> None:
    """Write an example of a script into FILE, by default lesson.json."""
    text = json.dumps(EXAMPLE, ensure_ascii=False, indent=2)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(f"{text}\n")
    except FileExistsError:
        raise UsageError(f"{file} is there already; give another name") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    click.echo(f"wrote {file}; make its video: penstock lesson {file}")


@click.command
def schema() -> None:
    """Print the JSON Schema of scripts, by which editors check them."""
    from stages.lesson.scripts.schema import script_schema

    click.echo(json.dumps(script_schema(), ensure_ascii=False, indent=2))
