"""Pipelines for trials, which run in processes of their own and so are found by entry point."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

from engine import (
    SOURCE,
    Drop,
    Item,
    Permanent,
    Pipeline,
    Settings,
    Stage,
    Step,
    UsageError,
    setting,
)

SERVICE = 0.04
"""Seconds that an item takes in the slow stage."""


class Fetch(Stage):
    """Writes a file as big as its setting says."""

    class Settings(Settings):
        size: int = setting(1000, "Bytes.")
        key: SecretStr | None = setting(None, "Nobody's business.", affects_output=False)

    settings: "Fetch.Settings"

    def process(self, item: Item, out: Path) -> None:
        if item.source == "gone":
            raise Permanent("it is gone")
        if item.source == "empty":
            raise Drop("nothing in it")
        (out / "raw").write_bytes(os.urandom(self.settings.size))


class Work(Stage):
    """Takes its time, and misbehaves where it is told to."""

    class Settings(Settings):
        seconds: float = setting(SERVICE, "How long an item takes.")
        kill: int = setting(0, "Kills its process once so many items are at work at once.")
        refuse: bool = setting(False, "Cannot be opened.")
        hang: bool = setting(False, "Never ends.")
        memory: int = setting(0, "Bytes that it holds.")

    settings: "Work.Settings"
    at_work: ClassVar[int] = 0

    def open(self) -> None:
        if self.settings.refuse:
            raise UsageError("there is no such model; give another")

    def process(self, item: Item, out: Path) -> None:
        held = b"x" * self.settings.memory
        while self.settings.hang:
            (self.workdir.parent / "hanging").write_text(str(os.getpid()))
            time.sleep(0.01)
        Work.at_work += 1
        if Work.at_work == self.settings.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        sys.stdout.write("what a stage prints is no answer\n")
        time.sleep(self.settings.seconds)
        Work.at_work -= 1
        (out / "done").write_text(str(len(held)))


bench = Pipeline(
    name="toybench",
    summary="A toy to benchmark.",
    steps=[Step(Fetch, after=SOURCE), Step(Work, after="fetch")],
)
