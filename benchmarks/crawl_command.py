"""A run by the command as a person gives it, of this checkout or of another."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def penstock_of(checkout: Path | None) -> list[str]:
    """The command of that checkout, or of this one. Ends the benchmark where it has none."""
    if checkout is None:
        return [str(Path(sys.executable).with_name("penstock"))]
    command = checkout.absolute() / ".venv" / "bin" / "penstock"
    if not command.exists():
        raise SystemExit(f"{command} is missing: make the checkout's .venv first")
    return [str(command)]


@contextmanager
def crawling(
    command: Sequence[str],
    urls: Sequence[str],
    settings: Sequence[str],
    work: Path,
    pipeline: str = "crawl",
) -> Iterator[subprocess.Popen[bytes]]:
    """The run's process, which does not outlive the block. It runs beside its work folder, so no
    config.toml is read. `command` are the words before the name of the pipeline."""
    listed = work.with_suffix(".txt")
    listed.write_text("".join(f"{url}\n" for url in urls))
    words = [*command, pipeline, "--from", str(listed), "--out", str(work), "--quiet"]
    for setting in settings:
        words += ["--set", setting]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=work.parent)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ended_well(process: "subprocess.Popen[bytes]", what: str) -> None:
    """Wait for it. Ends the benchmark where it failed."""
    code = process.wait()
    if code != 0:
        raise SystemExit(f"{what} ended with code {code}; see above")


def children_seconds() -> float:
    """Processor seconds of this process's children that have ended, theirs included."""
    times = os.times()
    return times.children_user + times.children_system
