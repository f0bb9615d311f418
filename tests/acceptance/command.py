"""The command as a person gives it, here or as a process of its own, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from engine.cli.main import main
from stages.demo.shapes import WEIGHTS

PENSTOCK = Path(sys.executable).with_name("penstock")

SHAPES: Mapping[str, Any] = {
    "stages.filter.weights": str(WEIGHTS),
    "stages.filter.classes": [],
    "stages.filter.image_size": 224,
    "stages.extract.fps": 2,
    "limits.free_disk": 0,
    "limits.backoff": 0.05,
}
"""What a crawl of the clips of `tests.acceptance.clips` needs."""


@dataclass(frozen=True)
class Ran:
    """How a command ended: its exit code, and what it said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def settings(*layers: Mapping[str, Any]) -> list[str]:
    """`--set` for each setting; later layers go before earlier ones."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return [
        part
        for name, value in merged.items()
        for part in ("--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}")
    ]


@contextmanager
def standing_in(content: bytes) -> Iterator[None]:
    """This process's standard input holds `content` during the block."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        before = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            yield
        finally:
            os.dup2(before, 0)
            os.close(before)


def penstock(*arguments: object, stdin: bytes | None = None) -> Ran:
    """Give the command in this process. What would be a traceback fails the test."""
    words = [str(argument) for argument in arguments]
    with standing_in(stdin or b""):
        result = CliRunner().invoke(main, words, prog_name="penstock")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def crawl(
    *sources: object, out: Path, sets: Mapping[str, Any] | None = None, **options: Any
) -> Ran:
    """`penstock crawl` of synthetic clips from servers on this machine."""
    arguments = [*sources, "--out", out, "--allow-private", *settings(SHAPES, sets or {})]
    return penstock("crawl", *arguments, **options)


def crawl_command(*sources: object, out: Path, sets: Mapping[str, Any] | None = None) -> list[str]:
    """The same as words for a process of its own, which tells its events on standard output."""
    arguments = [*sources, "--out", out, "--allow-private", *settings(SHAPES, sets or {})]
    told = ["--quiet", "--log-json", "/dev/stdout"]
    return [str(PENSTOCK), "crawl", *map(str, arguments), *told]


@contextmanager
def started(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stdin: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own, which does not outlive the block. `stdin` is as
    `subprocess.Popen` takes it."""
    with subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | dict(environment or {}),
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The events that a process of `crawl_command` tells, as it tells them."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):  # a killed process leaves half a line
            assert line.startswith("{"), f"no event: {line!r}"
            yield json.loads(line)
