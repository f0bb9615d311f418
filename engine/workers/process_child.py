"""The process of a `ProcessWorker`. The other side, and the protocol, are in `workers/child.py`.

When the run dies its end of the pipe closes, and the child ends at once.
"""

import ctypes
import importlib
import logging
import logging.handlers
import os
import pickle
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydantic import BaseModel

from engine.cluster.frames import HEADER
from engine.contract.deadline import Deadline, watcher
from engine.contract.errors import PenstockError
from engine.contract.item import Item
from engine.contract.ownership import ownership
from engine.contract.paid import PaidTally, paid_tally
from engine.contract.parts import MadePart, Positions
from engine.contract.stage import Cancelled, Stage
from engine.ledger.outputs.folders import mark_outlived
from engine.telemetry.processor_time import measured
from engine.workers.base import StageFactory
from engine.workers.handing import FolderTaker, split
from engine.workers.packing import (
    Packed,
    pack,
    pack_ending,
    pack_refusal,
    unpack_error,
    unpack_settings,
)
from engine.workers.process import AT_ONCE
from engine.workers.result import result_of, result_of_return, results_of_batch

_PR_SET_PDEATHSIG = 1


class ChildProcess:
    """Reads messages in a thread, so that it notices at once when the pipe closes."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO, folder: str) -> None:
        self._folder = folder
        self._requests = requests
        self._replies = replies
        self._writing = threading.Lock()
        self._stage: Stage | None = None
        self._list: Iterator[Item] = iter(())
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy = threading.Event()
        self._in_hand: list[Item] = []

    def serve(self) -> None:
        """Answer until no more messages come."""
        self._end_with_the_run()
        threading.Thread(target=self._read, daemon=True).start()
        watcher.set(self._tell_deadline)
        ownership.set(self._ask_whose)
        paid_tally.set(PaidTally([lambda share: self._send("paid", None)]))
        handlers: dict[str, Callable[..., Any]] = {
            "open": self._open,
            "process": self._process,
            "split": self._split,
            "process_batch": self._process_batch,
            "next": self._next,
        }
        while (message := self._inbox.get()) is not None:
            reply = handlers[message[0]](*message[1:])
            self._in_hand = []
            self._busy.clear()
            self._send("reply", reply)
        if self._stage is not None:
            self._stage.close()

    def _send(self, word: str, value: Any) -> None:
        try:
            body = pickle.dumps((word, value))
        except Exception as error:  # the stage produced something that is no item
            body = pickle.dumps((word, pack(result_of(error))))
        with self._writing:
            self._replies.write(len(body).to_bytes(HEADER) + body)
            self._replies.flush()

    def _tell_deadline(self, deadline: Deadline | None) -> None:
        told = None if deadline is None else (deadline.seconds, pack_ending(deadline.missed))
        self._send("deadline", told)

    # The end of the run

    def _read(self) -> None:
        while header := self._requests.read(HEADER):
            body = self._requests.read(int.from_bytes(header))
            self._busy.set()
            self._inbox.put(pickle.loads(body))
        self._abandoned()
        self._inbox.put(None)

    def _abandoned(self, *_: object) -> None:
        """The run is gone: end this process and the processes that it started. Their item did not
        kill the run, so first leave the mark that tells the next run so."""
        if self._busy.is_set():
            for item in self._in_hand:
                assert self._stage is not None
                mark_outlived(item, self._stage.name)
            shutil.rmtree(self._folder, ignore_errors=True)
            os.killpg(0, signal.SIGKILL)

    def _end_with_the_run(self) -> None:
        """Have a signal end the process with the run. The reading thread does not run while a
        library holds Python's lock, which a regular expression may do for hours; but it checks for
        signals."""
        if sys.platform == "linux":
            number = signal.SIGRTMIN + 7  # a signal that no library uses
            signal.signal(number, self._abandoned)
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)

    # Requests

    def _open(
        self,
        importable: tuple[str, str],
        name: str,
        settings: bytes,
        workdir: Path,
        ingredients: Mapping[str, Any] | None,
        levels: dict[str, int],
    ) -> Any:
        module, qualname = importable
        self._log_to_the_run(levels)
        try:
            found: Any = importlib.import_module(module)
            for part in qualname.split("."):
                found = getattr(found, part)
            kind: type[BaseModel] = found.Settings
            given = unpack_settings(kind, settings)
            stage = StageFactory(found, given, workdir, name, ingredients)()
            stage.open()
        except PenstockError as error:
            return pack_refusal(error)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        self._stage = stage  # only an opened stage is closed
        return None

    def _log_to_the_run(self, levels: dict[str, int]) -> None:
        handler = _Forwarder(self._send)
        logging.root.addHandler(handler)
        for logger, level in levels.items():
            logging.getLogger(logger).setLevel(level)

    def _process(self, item: Item, out: Path) -> Packed:
        assert self._stage is not None
        self._in_hand = [item]
        word: str
        with measured(whole_process=True) as cost:
            try:
                result = result_of_return(self._stage.process(item, out), item)
                if result.produced is None:
                    word, value, _ = pack(result)
                else:
                    self._list = iter(cast(Iterable[Item], result.produced))
                    value = list(islice(self._list, AT_ONCE))
                    word = "produced" if len(value) < AT_ONCE else "list"
            except BaseException as error:
                word, value, _ = pack(result_of(error))
        return word, value, cost

    def _split(self, item: Item, out: Path, standing: Positions) -> Packed:
        assert self._stage is not None
        self._in_hand = [item]
        taker = PipeTaker(out, self._ask, lambda count: self._send("expect", count))
        with measured(whole_process=True) as cost:
            word, value, _ = pack(split(self._stage, item, out, standing, taker))
        return word, value, cost

    def _ask(self, part: MadePart, content: str) -> None:
        """Have the run take a part, and wait until it has. Raises what it raised there."""
        error = self._answer("part", (part, content))
        if error is not None:
            raise unpack_error(error)

    def _ask_whose(self, item: str, surely: bool) -> bool | None:
        """Whether the item is still the run's."""
        answer: bool | None = self._answer("whose", (item, surely))
        return answer

    def _answer(self, word: str, value: Any) -> Any:
        """The run's answer to a message, once it comes."""
        self._send(word, value)
        message = self._inbox.get()
        if message is None:
            raise Cancelled("the run has ended")
        return message[1]

    def _next(self) -> Packed:
        """The next item of the list that the last attempt returned; "done" after its last."""
        try:
            for item in self._list:
                return "produced", [item], None
        except BaseException as error:
            return pack(result_of(error))
        return "done", None, None

    def _process_batch(self, items: list[Item], outs: list[Path]) -> Any:
        assert self._stage is not None
        self._in_hand = items
        try:
            with measured(whole_process=True) as cost:
                answers = self._stage.process_batch(items, outs)
            return [pack(result) for result in results_of_batch(answers, len(items), cost)]
        except (Exception, SystemExit) as error:
            return pack(result_of(error))


class PipeTaker(FolderTaker):
    """Asks the run, by a message."""

    def __init__(
        self, out: Path, ask: Callable[[MadePart, str], None], expect: Callable[[int], None]
    ) -> None:
        super().__init__(out)
        self._ask = ask
        self._expect = expect

    def _hand_over(self, part: MadePart, content: str) -> None:
        self._ask(part, content)

    def expect(self, count: int) -> None:
        self._expect(count)


class _Forwarder(logging.handlers.QueueHandler):
    """Sends log records to the run, so that logs look the same wherever a stage runs."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__(queue.SimpleQueue())
        self._send = send

    def enqueue(self, record: logging.LogRecord) -> None:
        self._send("log", record)


def main(folder: str) -> None:
    """Serve one parent over stdin and stdout until it closes them. Temporary files go into
    `folder`, which is removed however this process ends."""
    os.environ["TMPDIR"] = folder
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a program that the stage runs must not read our requests
    os.close(nothing)
    os.dup2(2, 1)  # the stage's prints must not look like replies
    try:
        ChildProcess(requests, replies, folder).serve()
    finally:  # whoever has started this process may be dead
        shutil.rmtree(folder, ignore_errors=True)
