"""A worker of a queue as a process of its own, with toys in the place of a pipeline.

python -m tests.stages.service.toy_worker REDIS QUEUE FOLDER NAME LOCK: its work folder is
FOLDER/NAME. It writes a line to FOLDER/calls for each attempt of its second step, and ends none of
them before there is a file FOLDER/NAME.go.
"""

import sys
from pathlib import Path
from typing import Any

from engine import Item, Job, checkpoint, execute
from stages.service.bull import BullSource
from stages.service.job_data import source_of
from stages.service.profiles import AskedJob
from tests.engine.toys import Toy, configured, line, note, toy


class Call(Toy):
    """A call that is paid for."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        note(self.workdir.parent / "calls", item.source)
        while not self.workdir.with_suffix(".go").exists():
            checkpoint()
        return None


def read(data: object) -> AskedJob:
    return AskedJob("toy", Job(source_of(data, [])))


def main(url: str, name: str, folder: str, own: str, lock: str) -> int:
    workdir = Path(folder) / own
    pipeline = line(toy("first"), toy("call", "first", base=Call))
    how = {"at_once": 8, "lock": float(lock), "drain": 5.0}
    source = BullSource(url, name, workdir, read, pipeline=pipeline, **how)
    with source.connected():
        config = configured(pipeline, "stages.call.workers=4")
        return execute(
            *(pipeline, config, workdir, source, True, "/dev/stdout", None),
            listeners=[source],
            resident=True,
        )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
