"""A worker of a queue as a process of its own, with toys in the place of a pipeline.

python -m tests.stages.service.toy_worker REDIS QUEUE FOLDER NAME LOCK [DATABASE]: its work folder
is FOLDER/NAME. It writes a line to FOLDER/calls for each attempt of its second step, and ends none
of them before there is a file FOLDER/NAME.go. With DATABASE the second step puts a scene, in which
NAME is said, into this SQLite file, whatever becomes of the attempt meanwhile.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from engine import Item, Job, Step, checkpoint, execute
from stages.persistence.persist import Persist
from stages.service.bull import BullSource
from stages.service.job_data import source_of
from stages.service.profiles import AskedJob
from tests.engine.toys import Toy, configured, line, note, toy
from tests.stages.sinks.records import said, scene


class Call(Toy):
    """A call that is paid for."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        note(self.workdir.parent / "calls", item.source)
        while not self.workdir.with_suffix(".go").exists():
            checkpoint()
        return None


class Scenes(Toy):
    """Says the worker's name."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        record = scene(0, speech=said(self.workdir.name))
        (out / "scenes.jsonl").write_text(json.dumps(record) + "\n")


class Late(Persist):
    """Puts the video away when it is told to, as after a machine's sleep: it notices nothing."""

    name = "persist"

    def process(self, item: Item, out: Path) -> None:
        note(self.workdir.parent / "calls", item.source)
        while not self.workdir.with_suffix(".go").exists():
            time.sleep(0.001)
        super().process(item, out)


def read(data: object) -> AskedJob:
    return AskedJob("toy", Job(source_of(data, [])))


def main(url: str, name: str, folder: str, own: str, lock: str, database: str = "") -> int:
    workdir = Path(folder) / own
    pipeline, sets = line(toy("first"), toy("call", "first", base=Call)), ["stages.call.workers=4"]
    if database:
        pipeline = line(toy("scenes", base=Scenes), Step(Late, "scenes"))
        sets = [f"stages.persist.database={database}", "stages.persist.meaning=off"]
    how = {"at_once": 8, "lock": float(lock), "drain": 5.0}
    source = BullSource(url, name, workdir, read, pipeline=pipeline, **how)
    with source.connected():
        config = configured(pipeline, *sets)
        return execute(
            *(pipeline, config, workdir, source, True, "/dev/stdout", None),
            listeners=[source],
            resident=True,
        )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
