"""A toy pipeline that publishes what it writes, and what is read of a result."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import httpx
import jsonschema

from engine import Item, Pipeline, Step
from stages.publishing.publish import Publish
from tests.engine.toys import Toy, line, toy

DOCS = Path(__file__).parents[3] / "docs"


class Writing(Toy):
    """Leaves records, a picture, a film and facts."""

    films: ClassVar[Mapping[str, bytes]] = {"film.mp4": b"film"}
    records: ClassVar[int] = 3
    wide: ClassVar[int] = 10

    def act(self, item: Item, out: Path) -> Any:
        with (out / "records.jsonl").open("w") as file:
            for number in range(self.records):
                record = {"number": number, "said": "ü\u2028" * self.wide}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        (out / "pictures").mkdir()
        (out / "pictures" / "1.jpg").write_bytes(b"a picture")
        (out / ".hidden").write_text("nobody's")
        (out / "secret").symlink_to("/etc/passwd")
        facts = {"title": "A film", "format": "none of theirs", "file": "film.mp4"}
        (out / "info.json").write_text(json.dumps(facts))
        for name, content in self.films.items():
            (out / name).write_bytes(content)
        return super().act(item, out)


def pipeline(*, name: str = "made", **attributes: Any) -> Pipeline:
    made = toy(name, base=Writing, **attributes)
    return line(made, Step(Publish, after=name, inputs={"records": name}))


def to(bucket: str, endpoint: str, **more: Any) -> list[str]:
    """The settings that publish there."""
    told = {"url": f"s3://{bucket}/results", "endpoint": endpoint, "attempts": 1} | more
    return [f"stages.publish.{name}={value}" for name, value in told.items()]


def told_in(workdir: Path) -> dict[str, Any]:
    """What the one item's publish.json says."""
    [file] = workdir.glob("items/*/publish/publish.json")
    told: dict[str, Any] = json.loads(file.read_text())
    return told


def fetched(url: str) -> dict[str, Any]:
    """The result behind the link, which is as docs/job.schema.json says."""
    answer = httpx.get(url)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    schema = json.loads((DOCS / "job.schema.json").read_text())
    jsonschema.validate({"published": answer.json()}, schema)
    whole: dict[str, Any] = json.loads(answer.content)
    return whole
