"""A thread inside of the command that looks at the command's threads, and waits for Python's lock.

    python benchmarks/thread_watch.py LOOKS.json crawl …     # as `penstock crawl …`

It writes what it saw when the command ends.
"""

import atexit
import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

EVERY = 0.05
"""Seconds between two looks."""

WATCH = "watch"
OTHERS = "others"
"""Threads of libraries, those included that Python does not know."""


@dataclass(frozen=True, slots=True)
class ThreadLook:
    """One look, `clock` by the monotonic clock: the seconds that the threads had used by then, by
    kind, and the seconds that the looking thread had just waited for Python's lock."""

    clock: float
    lock: float
    used: Mapping[str, float]


class ThreadWatch:
    """Looks again and again, from its beginning until the process ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._looks: list[ThreadLook] = []
        self._ended: dict[str, float] = {}
        self._seen: dict[int, tuple[str, float]] = {}
        atexit.register(self._write)
        threading.Thread(target=self._watch, name=WATCH, daemon=True).start()

    def _watch(self) -> None:
        while True:
            # Awake on time, the thread first waits for a core and then for the lock.
            delayed, due = _delayed(), time.monotonic() + EVERY
            time.sleep(EVERY)
            late = time.monotonic() - due
            self._looks.append(self._look(max(0.0, late - (_delayed() - delayed))))

    def _look(self, lock: float) -> ThreadLook:
        names = {thread.native_id: kind(thread.name) for thread in threading.enumerate()}
        now: dict[int, tuple[str, float]] = {}
        for entry in Path("/proc/self/task").iterdir():
            number = int(entry.name)
            try:
                used = int((entry / "schedstat").read_text().split()[0]) / 1e9
            except (FileNotFoundError, ProcessLookupError):
                continue
            known = self._seen.get(number)
            now[number] = names.get(number) or (known[0] if known else OTHERS), used
        for number, (name, used) in self._seen.items():
            if number not in now:
                self._ended[name] = self._ended.get(name, 0.0) + used
        self._seen = now
        total = dict(self._ended)
        for name, used in now.values():
            total[name] = total.get(name, 0.0) + used
        return ThreadLook(time.monotonic(), lock, total)

    def _write(self) -> None:
        self._file.write_text(json.dumps([asdict(look) for look in self._looks]))


def kind(name: str) -> str:
    """What a thread of that name does: "penstock-filter-2" is one of "filter"'s."""
    if name == "MainThread":
        return "event loop"
    if name.startswith("penstock-"):
        return name.removeprefix("penstock-").rstrip("0123456789-_")
    return "watch" if name == WATCH else OTHERS


def _delayed() -> float:
    """Seconds that this thread has waited for a core."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def written_looks(file: Path) -> list[ThreadLook]:
    """What a command that has ended wrote."""
    return [ThreadLook(**look) for look in json.loads(file.read_text())]


def watched_command(file: Path) -> list[str]:
    """The command `penstock` with such a thread in it, which writes its looks into `file`."""
    return [sys.executable, str(Path(__file__)), str(file)]


def main() -> None:
    file = Path(sys.argv.pop(1))
    ThreadWatch(file)
    from engine.cli.main import main as penstock

    penstock(prog_name="penstock")


if __name__ == "__main__":
    main()
