"""The time that the threads of each stage had a core or waited for one."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from engine.telemetry.children import children


class ThreadTimes:
    """Seconds that the threads of each stage, including those of its processes, had a core or
    waited for one. Only Linux reports it (the first two figures of a thread's schedstat, in
    nanoseconds)."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[int, int]] = {}
        self.apart = 0.0
        """Seconds that threads of child processes had a core, between the last two calls."""

    def since_last(self) -> Mapping[str, float] | None:
        """The seconds by stage since the last call; None where the system does not report them."""
        if not Path("/proc/self/schedstat").exists():
            return None
        wanted: Counter[str] = Counter()
        now: dict[int, tuple[int, int]] = {}
        apart = 0
        for stage, process, thread in self._threads():
            try:
                text = Path(f"/proc/{process}/task/{thread}/schedstat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            had, waited = (int(figure) for figure in text.split()[:2])
            now[thread] = had, waited
            had_before, waited_before = self._before.get(thread, (0, 0))
            wanted[stage] += had + waited - had_before - waited_before
            if process != "self":
                apart += had - had_before
        self._before, self.apart = now, apart / 1e9
        return {stage: nanoseconds / 1e9 for stage, nanoseconds in wanted.items()}

    @staticmethod
    def _threads() -> Iterator[tuple[str, str, int]]:
        """Step, process and thread."""
        for thread in threading.enumerate():
            if thread.native_id is not None and thread.name.startswith("penstock-"):
                stage = thread.name.removeprefix("penstock-").rpartition("-")[0]
                yield stage, "self", thread.native_id
        for process, stage in children().items():
            with suppress(FileNotFoundError, ProcessLookupError):
                for entry in Path(f"/proc/{process}/task").iterdir():
                    yield stage, str(process), int(entry.name)
