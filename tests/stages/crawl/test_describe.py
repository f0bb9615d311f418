"""The describe stage against a real server with real faults."""

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine import Item, Permanent, StopRun, Throttled, Transient, UsageError
from stages.crawl.describe import Describe
from tests.stages.describing import describe, kept, picture, read
from tests.stages.vision_server import (
    Answer,
    VisionServer,
    openai,
    problem,
    sentence_on,
    serving,
)

KEY = "sk-test-0123456789abcdefSECRET"
MakeItem = Callable[..., Item]


@pytest.fixture
def server() -> Iterator[VisionServer]:
    with serving(key=KEY) as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)


def descriptions(lines: list[dict[str, Any]]) -> list[str | None]:
    return [line["description"] for line in lines]


def test_sentences_from_detections_need_no_server_and_no_key(
    tmp_path: Path, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    item = make_item("a", filter=kept([picture(1), picture(1)]))
    (lines,) = describe(tmp_path, [item])
    assert lines[1] == {
        "file": "000001.000.jpg",
        "description": "A cat at the left.",
        "by": "detections",
        "reused_from": None,
        "error": None,
    }
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("backend", "path", "header"),
    [
        ("openai", "/v1/chat/completions", "authorization"),
        ("gemini", "/v1/models/eye:generateContent", "x-goog-api-key"),
    ],
)
def test_every_frame_gets_the_servers_own_words(
    tmp_path: Path,
    make_item: MakeItem,
    server: VisionServer,
    backend: str,
    path: str,
    header: str,
) -> None:
    images = [picture(seed) for seed in range(5)]
    item = make_item("a", filter=kept(images))
    (lines,) = describe(tmp_path, [item], **openai(server, backend=backend))
    assert descriptions(lines) == [sentence_on(image) for image in images]
    assert {line["by"] for line in lines} == {f"{backend}:eye"}
    assert {request.path for request in server.requests} == {path}
    assert all(KEY in request.headers[header] for request in server.requests)


def test_frames_are_in_flight_together_over_all_videos_up_to_the_bound(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.latency = 0.05
    items = [
        make_item(f"v{video}", filter=kept([picture(10 * video + n) for n in range(10)]))
        for video in range(4)
    ]
    describe(tmp_path, items, together=True, **openai(server, concurrency=6))
    assert len(server.requests) == 40
    assert server.peak == 6


def test_latency_is_hidden_by_concurrency(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.latency = 0.1
    item = make_item("a", filter=kept([picture(seed) for seed in range(100)]))
    describe(tmp_path, [item], **openai(server, concurrency=8))
    # One after the other they would take 10 s; eight at a time take 1.3 s.
    first, last = server.requests[0].at, server.requests[-1].at
    assert last - first < 3


def test_nothing_is_asked_twice(tmp_path: Path, make_item: MakeItem, server: VisionServer) -> None:
    item = make_item("a", filter=kept([picture(seed) for seed in range(6)]))
    first = describe(tmp_path, [item], **openai(server))
    again = describe(tmp_path, [item], **openai(server, reuse="off"))
    assert again == first
    assert len(server.requests) == 6
    describe(tmp_path, [item], **openai(server, prompt="What is on fire?"))
    assert len(server.requests) == 12


def test_identical_frames_in_flight_are_asked_once(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.latency = 0.1
    items = [make_item(name, filter=kept([picture(1)] * 10)) for name in "ab"]
    lines = describe(tmp_path, items, together=True, **openai(server, reuse="off"))
    assert len(server.requests) == 1
    assert {line["description"] for video in lines for line in video} == {sentence_on(picture(1))}


def test_near_identical_frames_take_the_description_of_the_first(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    a = make_item("a", filter=kept([picture(1), picture(1, 60), picture(2)]))
    b = make_item("b", filter=kept([picture(2, 70), picture(3)]))
    in_a, in_b = describe(tmp_path, [a, b], **openai(server))
    assert sorted(server.images) == sorted([picture(1), picture(2), picture(3)])
    assert [line["reused_from"] for line in in_a] == [None, f"{a.id}/000000.000.jpg", None]
    assert [line["reused_from"] for line in in_b] == [f"{a.id}/000002.000.jpg", None]
    assert in_a[1]["description"] == sentence_on(picture(1))

    c = make_item("c", filter=kept([picture(3, 70), picture(4)]))  # a later run remembers
    (in_c,) = describe(tmp_path, [c], **openai(server))
    assert [line["reused_from"] for line in in_c] == [f"{b.id}/000001.000.jpg", None]
    assert len(server.requests) == 4

    describe(tmp_path, [c], **openai(server, model="another"))  # another model knows nothing
    assert len(server.requests) == 6


@pytest.mark.parametrize(("reuse", "requests"), [("run", 2), ("video", 4), ("off", 6)])
def test_how_far_reuse_goes(
    tmp_path: Path, make_item: MakeItem, server: VisionServer, reuse: str, requests: int
) -> None:
    images = [picture(1), picture(1, 60), picture(2)]
    items = [
        make_item("a", filter=kept(images)),
        make_item("b", filter=kept([picture(1, 80), picture(1, 70), picture(2, 80)])),
    ]
    describe(tmp_path, items, together=True, **openai(server, reuse=reuse))
    assert len(server.requests) == requests


def test_a_frame_that_waited_for_one_that_fails_asks_for_itself(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.latency = 0.05
    server.fault = lambda number, request: (
        problem(400, code="image_parse_error") if request.image == picture(1) else None
    )
    item = make_item("a", filter=kept([picture(1), picture(1, 60), picture(2)]))
    (lines,) = describe(tmp_path, [item], **openai(server))
    assert descriptions(lines) == [None, sentence_on(picture(1, 60)), sentence_on(picture(2))]
    assert [line["reused_from"] for line in lines] == [None, None, None]
    assert "says the server with 400" in lines[0]["error"]


def test_slowing_down_is_not_a_failure(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.fault = lambda number, request: (
        problem(429, {"Retry-After": "0.2"}) if number % 4 == 3 else None
    )
    images = [picture(seed) for seed in range(12)]
    item = make_item("a", filter=kept(images))
    (lines,) = describe(tmp_path, [item], **openai(server, call_attempts=1))
    assert descriptions(lines) == [sentence_on(image) for image in images]


def test_after_a_429_every_call_of_the_pool_pauses(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.fault = lambda number, request: (
        problem(429, {"Retry-After": "1"}) if number == 0 else None
    )
    items = [make_item(name, filter=kept([picture(n) for n in seeds])) for name, seeds in
             (("a", range(3)), ("b", range(3, 6)))]  # fmt: skip
    describe(tmp_path, items, together=True, **openai(server, concurrency=1))
    gaps = [later.at - first.at for first, later in zip(server.requests, server.requests[1:])]  # noqa: B905
    assert gaps[0] >= 1
    assert len(server.requests) == 7


def test_a_pause_past_patience_puts_the_video_off(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.fault = lambda number, request: (
        problem(429, {"Retry-After": "3600"}) if number == 1 else None
    )
    item = make_item("a", filter=kept([picture(seed) for seed in range(20)]))
    with pytest.raises(Throttled) as told:
        describe(tmp_path, [item], **openai(server, concurrency=1))
    assert told.value.after == pytest.approx(3600, abs=30)
    assert len(server.requests) == 2  # nobody knocks while the server wants quiet
    (lines,) = describe(tmp_path, [item], **openai(server, concurrency=1))
    assert None not in descriptions(lines)
    assert len(server.requests) == 21


def test_faults_of_the_server_are_retried(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    faults = [
        problem(500),
        problem(503, {"Retry-After": "0.1"}),
        Answer(200, b"<html>Bad gateway</html>"),
        Answer(200, b'{"object": "list"}'),
        Answer(0),  # the connection closes without a word
        Answer(200, latency=1.5),
    ]
    server.fault = lambda number, request: faults[number] if number < len(faults) else None
    images = [picture(seed) for seed in range(len(faults))]
    item = make_item("a", filter=kept(images))
    (lines,) = describe(tmp_path, [item], **openai(server, call_timeout=1, call_attempts=3))
    assert descriptions(lines) == [sentence_on(image) for image in images]


def test_one_frame_that_fails_does_not_fail_the_video(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.fault = lambda number, request: problem(500) if request.image == picture(1) else None
    item = make_item("a", filter=kept([picture(0), picture(1), picture(2)]))
    (lines,) = describe(tmp_path, [item], **openai(server, call_attempts=2))
    assert descriptions(lines) == [sentence_on(picture(0)), None, sentence_on(picture(2))]
    host = server.origin.removeprefix("http://")
    assert lines[1]["error"] == f"{host} answered 500: says the server with 500 (2 attempts)"
    assert server.images.count(picture(1)) == 2


def test_a_broken_image_is_not_sent(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    item = make_item("a", filter=kept([b"no image", picture(1)]))
    (lines,) = describe(tmp_path, [item], **openai(server))
    assert lines[0]["error"] == "cannot be read: not an image"
    assert server.images == [picture(1)]


def test_a_video_none_of_whose_frames_could_be_described_fails(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    server.fault = lambda number, request: problem(502)
    item = make_item("a", filter=kept([picture(0), picture(1)]))
    with pytest.raises(Transient, match=r"none of 2 frames could be described: .* answered 502"):
        describe(tmp_path, [item], **openai(server, call_attempts=1))


def test_a_refusal_is_paid_for_once(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    refusal = {"message": {"content": None, "refusal": "I cannot help with that."}}
    server.fault = lambda number, request: Answer(200, json.dumps({"choices": [refusal]}).encode())
    item = make_item("a", filter=kept([picture(0)]))
    for _ in range(2):
        with pytest.raises(Permanent, match="I cannot help with that"):
            describe(tmp_path, [item], **openai(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("backend", ["openai", "gemini"])
def test_a_missing_key_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    name = f"{backend.upper()}_API_KEY"
    monkeypatch.delenv(name)
    with pytest.raises(UsageError, match=f"environment variable {name}"):
        describe(tmp_path, [], backend=backend)
    with pytest.raises(UsageError, match="environment variable MY_API_KEY"):
        describe(tmp_path, [], backend=backend, api_key_env="MY_API_KEY")


def test_a_local_server_needs_no_key(
    tmp_path: Path, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    item = make_item("a", filter=kept([picture(0)]))
    with serving() as server:
        (lines,) = describe(tmp_path, [item], **openai(server))
    assert descriptions(lines) == [sentence_on(picture(0))]
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (problem(401), "OPENAI_API_KEY"),
        (problem(403), "OPENAI_API_KEY"),
        (problem(400, details=[{"reason": "API_KEY_INVALID"}]), "OPENAI_API_KEY"),
        (problem(404, code="model_not_found"), "check model and base_url"),
        (problem(400, code="model_not_found"), "check model and base_url"),
        (Answer(301, b"", {"Location": "/elsewhere"}), "check model and base_url"),
        (problem(429, code="insufficient_quota"), "quota or credit"),
        (problem(402), "quota or credit"),
    ],
)
def test_what_dooms_every_video_stops_the_run(
    tmp_path: Path, make_item: MakeItem, server: VisionServer, answer: Answer, advice: str
) -> None:
    server.fault = lambda number, request: answer
    item = make_item("a", filter=kept([picture(seed) for seed in range(30)]))
    with pytest.raises(StopRun) as told:
        describe(tmp_path, [item], **openai(server, concurrency=4))
    assert advice in str(told.value)
    assert str(answer.status) in str(told.value)
    assert "\n" not in str(told.value)
    assert len(server.requests) <= 4


def test_the_cap_on_requests_stops_the_run_and_the_next_goes_on(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    item = make_item("a", filter=kept([picture(seed) for seed in range(10)]))
    for sent in (4, 8):
        with pytest.raises(StopRun, match=r"4 requests have been sent.*run the same command"):
            describe(tmp_path, [item], **openai(server, max_requests=4))
        assert len(server.requests) == sent
    describe(tmp_path, [item], **openai(server, max_requests=4))
    assert Counter(server.images).most_common(1)[0][1] == 1
    assert len(server.requests) == 10


def test_a_dry_run_sends_nothing_and_counts_what_a_run_sends(
    tmp_path: Path, make_item: MakeItem, server: VisionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = make_item("a", filter=kept([picture(0), picture(1), picture(1, 60), picture(2)]))
    b = make_item("b", filter=kept([picture(2, 60), picture(3), b"no image"]))
    describe(tmp_path, [make_item("before", filter=kept([picture(0, 60)]))], **openai(server))
    server.requests.clear()
    monkeypatch.delenv("OPENAI_API_KEY")
    lines, _ = describe(tmp_path, [a, b], **openai(server, dry_run=True))
    counts = [json.loads((item.folder / "out" / "requests.json").read_text()) for item in (a, b)]
    assert counts == [
        {"requests": 2, "frames": 4, "reused": 2, "cached": 0},
        {"requests": 1, "frames": 3, "reused": 1, "cached": 0},
    ]
    assert descriptions(lines) == [None] * 4
    assert not server.requests
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    describe(tmp_path, [a, b], **openai(server))
    assert len(server.requests) == 3
    describe(tmp_path, [a, b], **openai(server, dry_run=True, reuse="off"))
    counts = [json.loads((item.folder / "out" / "requests.json").read_text()) for item in (a, b)]
    assert [count["cached"] for count in counts] == [2, 1]


@pytest.mark.parametrize("backend", ["openai", "gemini"])
def test_the_key_is_nowhere_but_in_the_header(
    tmp_path: Path,
    make_item: MakeItem,
    server: VisionServer,
    caplog: pytest.LogCaptureFixture,
    backend: str,
) -> None:
    """The server repeats the key in its errors, as some do."""
    caplog.set_level(logging.DEBUG)
    repeats = [
        problem(400, message=f"{KEY} is odd", code="image"),
        problem(500, message=f"<{KEY}>"),
    ]
    server.fault = lambda number, request: repeats[number] if number < 2 else None
    item = make_item("a", filter=kept([picture(seed) for seed in range(4)]))
    settings = openai(server, backend=backend, concurrency=1, call_attempts=1)
    (lines,) = describe(tmp_path, [item], **settings)
    assert [line["error"] is None for line in lines] == [False, False, True, True]
    server.key = "another"
    other = make_item("b", filter=kept([picture(9)]))
    with pytest.raises(StopRun, match=r"Incorrect API key provided: \[key\]. See") as told:
        describe(tmp_path, [other], **settings)
    assert KEY not in repr(told.value)
    assert caplog.records  # httpx does log its requests
    assert KEY not in caplog.text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key_env": KEY},
        {"base_url": f"http://127.0.0.1/v1?key={KEY}"},
        {"base_url": f"http://me:{KEY}@127.0.0.1/v1"},
        {"base_url": f"127.0.0.1/{KEY}"},
    ],
)
def test_a_key_in_the_settings_is_refused_and_not_repeated(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as told:
        Describe.Settings(**settings)
    assert KEY not in str(told.value)


def test_a_key_that_cannot_be_sent_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds no key") as told:
        describe(tmp_path, [], backend="openai")
    assert KEY not in str(told.value)


RUN = """
import sys
from pathlib import Path
from engine import Item
from tests.stages.describing import describe
workdir, url = Path(sys.argv[1]), sys.argv[2]
item = Item.at(workdir, "a")
describe(workdir, [item], backend="openai", base_url=url, model="eye", concurrency=4)
"""


@pytest.mark.parametrize("answers", [1, 6, 14])
def test_a_killed_run_pays_for_nothing_again_and_ends_the_same(
    tmp_path: Path, make_item: MakeItem, server: VisionServer, answers: int
) -> None:
    near = [picture(seed, quality) for seed in range(15) for quality in (90, 60)]
    item = make_item("a", filter=kept(near))
    killed = threading.Event()
    # The server answers so many, and is still thinking about the others when the run is killed.
    server.fault = lambda number, request: None if number < answers else problem(500, after=killed)
    command = [sys.executable, "-c", RUN, str(tmp_path), f"{server.origin}/v1"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    try:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "cache").rglob("replies/*/*.json"))) < answers:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed.set()
    server.fault = lambda number, request: None
    server.requests.clear()
    index = tmp_path / "cache" / "described"
    index.mkdir(exist_ok=True)
    for file in index.iterdir():
        with file.open("a") as stream:
            stream.write('{"item": "a", "file": "0000')  # what a crash may leave
    (resumed,) = describe(tmp_path, [item], **openai(server))
    assert len(server.requests) == 15 - answers
    (whole,) = describe(tmp_path / "elsewhere", [item], **openai(server))
    assert resumed == whole
    assert sum(line["reused_from"] is not None for line in whole) == 15


@pytest.mark.alone
def test_rates_are_spread_evenly(tmp_path: Path, make_item: MakeItem, server: VisionServer) -> None:
    item = make_item("a", filter=kept([picture(seed) for seed in range(12)]))
    begin = time.monotonic()
    describe(tmp_path, [item], **openai(server, requests_per_minute=300))
    assert len(server.requests) == 12
    # Five a second: the first five at once, and a fifth of a second for each of the other seven.
    assert 7 / 5 <= server.requests[-1].at - begin < 4


@pytest.mark.alone
def test_tokens_a_minute_follow_what_replies_did_cost(
    tmp_path: Path, make_item: MakeItem, server: VisionServer
) -> None:
    item = make_item("a", filter=kept([picture(seed) for seed in range(30)]))
    describe(tmp_path, [item], **openai(server, tokens_per_minute=240_000, concurrency=4))
    taken = server.requests[-1].at - server.requests[0].at
    # 4,000 tokens a second: 30 calls at the first guess of 1,350 would take 5 s or more, 30 at the
    # 400 that they do cost fit into the first burst and little more.
    assert taken < 3


def test_real_clips_encoded_twice_are_asked_about_once(
    tmp_path: Path, make_item: MakeItem, server: VisionServer, data: Path
) -> None:
    from tests.stages.real_frames import frames_of

    mp4 = make_item("mp4", filter=kept(frames_of(data / "neardup" / "mdn_frog.mp4")))
    webm = make_item("webm", filter=kept(frames_of(data / "neardup" / "mdn_frog.webm")))
    other = make_item("other", filter=kept(frames_of(data / "neardup" / "mdn_elf.mp4")))
    first, second, third = describe(tmp_path, [mp4, webm, other], **openai(server))
    assert all((line["reused_from"] or "").startswith(mp4.id) for line in second)
    assert not any((line["reused_from"] or "").startswith(mp4.id) for line in third)
    assert read(mp4.folder / "out" / "descriptions.jsonl") == first
