"""A run that takes nothing new sends no call that has waited for its turn until then."""

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

from engine import SOURCE, AttemptStarted, Event, Item, Stage, Step
from engine.flow.run import Run
from stages.speech.transcribe import Transcribe
from tests.engine.toys import line, query, run_within
from tests.threaded_server import QuietHandler, serving_requests

SECONDS = 60


class Chunk(Stage):
    """A chunk whose sound is its name; it is not listened to here."""

    def process(self, item: Item, out: Path) -> None:
        (out / "speech.ogg").write_text(item.id)
        told = {"file": "speech.ogg", "pieces": [[0, 1]], "speech": [[0, 1]]}
        told |= {"before": None, "after": None, "is_detected": False}
        (out / "chunk.json").write_text(json.dumps(told))


class Server(ThreadingHTTPServer):
    """Has `arrived` called with the first request, and answers once `go` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0
        self.arrived: Callable[[], object] = lambda: None
        self.go = threading.Event()


class Handler(QuietHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        self.server.arrived()
        self.server.go.wait(SECONDS)
        body = b'{"text": "said"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_calls_that_were_not_sent_are_given_up(tmp_path: Path) -> None:
    pipeline = line(Step(Chunk, SOURCE), Step(Transcribe, "chunk", inputs={"chunk": "chunk"}))
    begun: list[str] = []
    runs: list[Run] = []
    with serving_requests(Server()) as server:

        def listen(event: Event) -> None:
            if isinstance(event, AttemptStarted) and event.stage == "transcribe":
                loop = asyncio.get_running_loop()
                server.arrived = lambda: loop.call_soon_threadsafe(drain)
                begun.append(event.item)

        def drain() -> None:
            if len(begun) < 2:
                asyncio.get_running_loop().call_later(0.001, drain)
                return
            runs[0].drain("interrupted", "the test says so")
            server.go.set()

        sets = [
            "stages.transcribe.backend=url",
            f"stages.transcribe.base_url=http://127.0.0.1:{server.server_port}/v1",
            "stages.transcribe.model=ear",
            "stages.transcribe.concurrency=1",
            "stages.transcribe.granularity=none",
            "stages.transcribe.workers=2",
        ]
        run_within(SECONDS, pipeline, tmp_path, ["a", "b"], *sets, listen=listen, also=runs.append)
        assert server.asked == 1
    ends = query(tmp_path, "SELECT outcome FROM stages WHERE stage = 'transcribe'")
    assert sorted(ends) == [("done",), ("pending",)]
