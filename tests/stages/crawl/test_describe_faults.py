"""The describe stage and servers that go away, err within an answer, or turn an image down."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import Ending, Item, Permanent, StopRun, Throttled, Transient
from stages.calls.problem import problem_within
from stages.crawl.describe import Describe
from tests.stages.describing import Line, describe, kept, picture, read
from tests.stages.vision_server import (
    Answer,
    Request,
    openai,
    problem,
    sentence_on,
    serving,
)

MakeItem = Callable[..., Item]

IMAGES = [picture(seed) for seed in range(8)]


def descriptions(lines: list[Line]) -> list[str | None]:
    return [line["description"] for line in lines]


def answered(payload: Any) -> Answer:
    return Answer(200, json.dumps(payload).encode())


def chosen(content: Any, reason: str | None = "stop", **more: Any) -> Answer:
    choice = {"message": {"content": content}, "finish_reason": reason} | more
    return answered({"choices": [choice], "usage": {"total_tokens": 400}})


class Log:
    """A fault that notes which images were let through to be answered."""

    def __init__(self, fault: Callable[[int, Request], Answer | None]) -> None:
        self.described: Counter[bytes] = Counter()
        self.fault = fault

    def __call__(self, number: int, request: Request) -> Answer | None:
        answer = self.fault(number, request)
        if answer is None:
            self.described[request.image] += 1
        return answer


AWAY = [*(problem(status) for status in (408, 499, 502, 503, 504, 520, 524, 529)), Answer(0)]


@pytest.mark.parametrize("fault", AWAY, ids=lambda answer: str(answer.status))
def test_a_video_with_frames_that_a_server_was_away_for_is_not_done(
    tmp_path: Path, make_item: MakeItem, fault: Answer
) -> None:
    log = Log(lambda number, request: fault if number >= 3 else None)
    item = make_item("a", filter=kept(IMAGES))
    with serving(fault=log) as server:
        settings = openai(server, call_attempts=1, concurrency=2)
        with pytest.raises(Ending, match=r"5 of 8 frames have no description yet") as told:
            describe(tmp_path, [item], **settings)
        assert told.value.kind == "vision-api"
        assert isinstance(told.value, Transient | Throttled)
        log.fault = lambda number, request: None
        (lines,) = describe(tmp_path, [item], **settings)
    assert descriptions(lines) == [sentence_on(image) for image in IMAGES]
    assert log.described == Counter(IMAGES)  # each was answered once


def test_an_outage_is_waited_for_by_all_calls_together(tmp_path: Path, make_item: MakeItem) -> None:
    log = Log(lambda number, request: problem(503) if 4 <= number < 9 else None)
    items = [make_item(name, filter=kept([picture(n) for n in seeds])) for name, seeds in
             (("a", range(8)), ("b", range(8, 16)))]  # fmt: skip
    with serving(fault=log) as server:
        # On a machine that is busy with more, one call may knock again before another's turn comes.
        settings = openai(server, call_attempts=9)
        videos = describe(tmp_path, items, together=True, **settings)
        assert len(server.requests) == 16 + 5
    assert all(line["description"] for lines in videos for line in lines)
    assert set(log.described.values()) == {1}


def test_a_server_that_is_known_and_gone_is_waited_for_outside_the_workers(
    tmp_path: Path, make_item: MakeItem
) -> None:
    known, item = make_item("a", filter=kept(IMAGES[:1])), make_item("b", filter=kept(IMAGES[1:]))
    three = threading.Event()

    def fault(number: int, request: object) -> Answer | None:
        if number == 0:
            return None
        if number == 3:
            three.set()
        three.wait(10)  # so that three fail in a row: it takes no less to be away
        return problem(503)

    with serving(fault=fault) as server:
        with pytest.raises(Throttled) as told:
            describe(tmp_path, [known, item], **openai(server, call_attempts=1))
        host = server.origin.removeprefix("http://")
    assert (told.value.kind, told.value.key) == ("vision-api", host)
    assert told.value.after is not None
    assert 1 <= told.value.after <= 60


@pytest.mark.parametrize("tries", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_frames_at_which_a_server_breaks_off_do_not_look_like_an_outage(
    tmp_path: Path, make_item: MakeItem, tries: int
) -> None:
    """They are the last ones left; whoever else asks gets an answer. So the attempt counts."""
    known, item = make_item("a", filter=kept(IMAGES[:1])), make_item("b", filter=kept(IMAGES[1:]))
    bad = set(IMAGES[1:])
    with serving(fault=lambda number, request: Answer(0) if request.image in bad else None) as one:
        with pytest.raises(Transient, match=r"no answer from 127\.0\.0\.1"):
            describe(tmp_path, [known, item], **openai(one, call_attempts=tries))
        asked = Counter(one.images)
    assert max(asked[image] for image in bad) <= 2 * tries + 2
    assert asked[IMAGES[0]] == 1


def test_a_server_that_was_never_there_costs_attempts(tmp_path: Path, make_item: MakeItem) -> None:
    with serving() as server:
        pass
    item = make_item("a", filter=kept(IMAGES))
    with pytest.raises(Transient, match=r"none of 8 frames .* no answer from 127.0.0.1") as told:
        describe(tmp_path, [item], **openai(server, call_attempts=1))
    assert told.value.kind == "vision-api"


def test_faults_that_many_frames_meet_at_once_are_not_the_frames(
    tmp_path: Path, make_item: MakeItem
) -> None:
    """A server that says 500 while it restarts, and is well again before the video is through."""
    log = Log(lambda number, request: problem(500) if 2 <= number < 6 else None)
    images = [picture(seed) for seed in range(12)]
    item = make_item("a", filter=kept(images))
    with serving(fault=log, latency=0.05) as server:
        settings = openai(server, call_attempts=1, concurrency=4)
        with pytest.raises(Ending, match="no description yet") as told:
            describe(tmp_path, [item], **settings)
        assert told.value.kind == "vision-api"
        (lines,) = describe(tmp_path, [item], **settings)
    assert descriptions(lines) == [sentence_on(image) for image in images]
    assert log.described == Counter(images)


@pytest.mark.parametrize("fault", [Answer(0), problem(502)])
def test_an_image_that_brings_the_server_down_alone_is_left_out(
    tmp_path: Path, make_item: MakeItem, fault: Answer
) -> None:
    images = [picture(seed) for seed in range(40)]
    item = make_item("a", filter=kept(images))
    with serving(
        latency=0.05, fault=lambda number, request: fault if request.image == images[3] else None
    ) as server:
        (lines,) = describe(tmp_path, [item], **openai(server, concurrency=2, call_attempts=2))
    assert [line["file"] for line in lines if line["error"]] == ["000003.000.jpg"]


def test_frames_that_wait_for_one_that_fails_are_not_asked_about_while_the_server_is_away(
    tmp_path: Path, make_item: MakeItem
) -> None:
    item = make_item("a", filter=kept([picture(1, quality) for quality in range(50, 90, 5)]))
    with serving(fault=lambda number, request: problem(503)) as server:
        with pytest.raises(Transient, match="none of 8 frames"):
            describe(tmp_path, [item], **openai(server, call_attempts=1))
        assert len(server.requests) <= 2  # one may be on its way


def test_a_server_that_works_on_one_image_at_a_time_gets_fewer_calls_at_once(
    tmp_path: Path, make_item: MakeItem
) -> None:
    working = threading.Lock()

    def one_at_a_time(number: int, request: Request) -> None:
        with working:
            time.sleep(0.25)

    images = [picture(seed) for seed in range(16)]
    item = make_item("a", filter=kept(images))
    settings: dict[str, Any] = {"call_timeout": 1.2, "reuse": "off", "model": "eye"}

    async def run(url: str) -> str | None:
        told = Describe.Settings(backend="openai", base_url=url, **settings)
        stage = Describe(told, workdir=tmp_path)
        assert stage.bound() is None
        await stage.open()
        try:
            assert stage.bound() is None
            await stage.process(item.with_inputs({"frames": "filter"}), tmp_path)
            return stage.bound()
        finally:
            await stage.close()

    with serving(fault=one_at_a_time) as server:
        bound = anyio.run(run, server.origin)
        assert len(server.requests) <= 16 + 8
    assert bound is not None
    assert re.search(r"so it was down to \d calls? at once; more workers would not help", bound)
    lines = read(tmp_path / "descriptions.jsonl")
    assert descriptions(lines) == [sentence_on(image) for image in images]


TOO_LARGE = [
    {"error": {"message": "More than its context holds.", "code": "context_length_exceeded"}},
    {"error": {"message": "over the encoder cache", "type": "BadRequestError", "code": 400}},
    {"error": {"code": 400, "message": "too large", "type": "exceed_context_size_error"}},
]


@pytest.mark.parametrize("said", TOO_LARGE)
def test_what_earlier_runs_had_answered_proves_that_the_model_works(
    tmp_path: Path, make_item: MakeItem, said: Any
) -> None:
    large = picture(99)
    turned_down = Answer(400, json.dumps(said).encode())
    log = Log(lambda number, request: turned_down if request.image == large else None)
    with serving(fault=log) as server:
        settings = openai(server, reuse="off")
        describe(tmp_path, [make_item("a", filter=kept(IMAGES))], **settings)
        for _ in range(2):
            with pytest.raises(Permanent, match=r"none of 1 frames .* answered 400") as told:
                describe(tmp_path, [make_item("b", filter=kept([large]))], **settings)
            assert told.value.kind == "refused"
        assert len(server.requests) == 8 + 2  # nothing else was asked to find that out


def test_a_first_image_that_is_too_large_does_not_stop_the_run(
    tmp_path: Path, make_item: MakeItem
) -> None:
    images = [picture(seed) for seed in range(3)]
    turned_down = Answer(400, json.dumps(TOO_LARGE[0]).encode())
    with serving(
        fault=lambda number, request: turned_down if request.image in images else None
    ) as server:
        with pytest.raises(Permanent, match="none of 3 frames"):
            describe(tmp_path, [make_item("a", filter=kept(images))], **openai(server))
        assert len(server.requests) == 4  # and a plain picture, once


@pytest.mark.parametrize("status", [400, 422])
def test_a_question_that_no_image_passes_with_stops_the_run(
    tmp_path: Path, make_item: MakeItem, status: int
) -> None:
    item = make_item("a", filter=kept([picture(seed) for seed in range(30)]))
    with serving(fault=lambda number, request: problem(status)) as server:
        with pytest.raises(StopRun, match="check model and base_url"):
            describe(tmp_path, [item], **openai(server, concurrency=4))
        assert len(server.requests) <= 4 + 1


def test_a_default_model_that_is_gone_is_named_with_the_day_it_was_looked_up(
    tmp_path: Path, make_item: MakeItem
) -> None:
    item = make_item("a", filter=kept(IMAGES))
    with (
        serving(fault=lambda number, request: problem(404, code="model_not_found")) as server,
        pytest.raises(StopRun, match=r"gpt-4.1-mini, was looked up on \d{4}-\d\d-\d\d"),
    ):
        describe(tmp_path, [item], backend="openai", base_url=server.origin)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (problem(413), "smaller frames may pass: stages.extract.size"),
        (problem(403, metadata={"reasons": ["violence"]}), "answered 403"),
        (chosen(None, "content_filter"), r"refused the image \(content_filter\)"),
        (chosen("<think>It may be", "length"), "raise max_tokens"),
        (problem(400, code="content_filter"), "answered 400"),
        (answered({"error": {"code": "content_filter", "message": "no"}}), "answered 400: no"),
    ],
)
def test_a_frame_that_is_turned_down_is_no_fault_and_the_video_goes_on(
    tmp_path: Path, make_item: MakeItem, answer: Answer, told: str
) -> None:
    item = make_item("a", filter=kept(IMAGES[:3]))
    with serving(
        fault=lambda number, request: answer if request.image == IMAGES[1] else None
    ) as server:
        (lines,) = describe(tmp_path, [item], **openai(server))
        assert len(server.requests) == 3
    assert [line["description"] is None for line in lines] == [False, True, False]
    assert re.search(told, lines[1]["error"])


@pytest.mark.parametrize(
    "answer",
    [
        answered({"error": {"code": 429, "message": "Slow down."}}),
        answered({"error": {"code": "429", "message": "Slow down."}}),
        answered({"error": {"type": "rate_limit_error", "message": "Slow down."}}),
        answered([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]),
        chosen("", "error", error={"code": 429, "message": "Slow down."}),
        chosen("Half a sen", "error", error={"code": 502, "message": "Bad gateway."}),
        answered({"error": {"code": 503, "message": "Loading model"}, "choices": []}),
        answered({"error": "rate limit exceeded"}),
        answered({"code": 500, "message": "Oops."}),
        chosen(""),
        chosen(None, None),
        chosen("<think>A cat, I think.</think>"),
        chosen(None, reasoning_content="A cat."),
        chosen("Half a sen", "error"),
        chosen([{"type": "thinking", "thinking": "A cat?"}]),
        Answer(200, b""),
        Answer(200, b'{"choices": [{"message": {"content": "A c'),
        Answer(200, b"[" * 200_000),
        Answer(200, b" " * 17_000_000),
        Answer(200, b"\xff\xfe{}"),
    ],
)
def test_what_is_no_answer_is_asked_again_and_not_kept(
    tmp_path: Path, make_item: MakeItem, answer: Answer
) -> None:
    item = make_item("a", filter=kept(IMAGES[:2]))
    with serving(fault=lambda number, request: answer if number == 1 else None) as server:
        (lines,) = describe(tmp_path, [item], **openai(server, concurrency=1))
        assert len(server.requests) == 3
    assert descriptions(lines) == [sentence_on(image) for image in IMAGES[:2]]


@pytest.mark.parametrize("answer", [chosen(""), chosen("x", "error"), Answer(200, b"")])
def test_a_video_without_an_answer_fails_so_that_retry_asks_again(
    tmp_path: Path, make_item: MakeItem, answer: Answer
) -> None:
    item = make_item("a", filter=kept(IMAGES[:2]))
    with serving(fault=lambda number, request: answer) as server:
        with pytest.raises(Transient, match="none of 2 frames could be described") as told:
            describe(tmp_path, [item], **openai(server, call_attempts=1))
        assert told.value.kind == "vision-api"
        server.fault = lambda number, request: None
        (lines,) = describe(tmp_path, [item], **openai(server))
    assert descriptions(lines) == [sentence_on(image) for image in IMAGES[:2]]


def test_gemini_says_it_in_its_own_words(tmp_path: Path, make_item: MakeItem) -> None:
    answers = [
        answered({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
        answered({"candidates": [{"finishReason": "OTHER"}]}),
        answered({"candidates": []}),
        answered({"candidates": [{"content": {"parts": [{"text": "Hm", "thought": True}]}}]}),
        answered({"promptFeedback": {"blockReason": "SAFETY"}}),
        answered({"candidates": [{"finishReason": "RECITATION"}]}),
        answered({"candidates": [{"finishReason": "MAX_TOKENS", "content": {"role": "model"}}]}),
    ]
    item = make_item("a", filter=kept(IMAGES[:4]))
    with serving(
        fault=lambda number, request: answers[number - 1] if 0 < number < 8 else None
    ) as server:
        settings = openai(server, backend="gemini", concurrency=1, call_attempts=9)
        (lines,) = describe(tmp_path, [item], **settings)
        assert len(server.requests) == 8
    assert descriptions(lines) == [sentence_on(IMAGES[0]), None, None, None]
    assert {line["error"] for line in lines[1:]} == {
        "the model refused the image (safety)",
        "the model refused the image (recitation)",
        "the model used its 300 tokens before it wrote a word; raise max_tokens",
    }


@pytest.mark.parametrize(
    ("payload", "status", "remedy"),
    [
        ({"error": {"code": 401, "message": "m"}}, 401, "key"),
        ({"error": {"type": "invalid_api_key", "message": "m"}}, 401, "key"),
        ({"error": {"code": 402, "message": "m"}}, 402, "money"),
        ({"error": {"code": 429, "type": "insufficient_quota"}}, 429, "money"),
        ({"error": {"code": "model_not_found"}}, 404, "request"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, 503, "try again"),
        ({"error": {"message": "who knows", "code": 1305}}, 500, "try again"),
        ({"error": {"message": "m"}, "status": 429}, 429, "slow down"),
        ({"object": "error", "message": "m", "code": 400}, 400, "request"),
    ],
)
def test_an_error_in_a_success_counts_as_its_code_does(
    payload: Any, status: int, remedy: str
) -> None:
    found = problem_within(payload, {})
    assert found is not None
    assert (found.status, found.remedy) == (status, remedy)


@pytest.mark.parametrize(
    "payload",
    [
        {"error": None, "choices": [{"message": {"content": "A cat."}, "error": None}]},
        {"choices": [{"message": {"content": "error: code 429"}}], "message": "ok"},
        {"choices": "none"},
        {"object": "list"},
        [],
        3,
    ],
)
def test_what_holds_no_error(payload: Any) -> None:
    assert problem_within(payload, {}) is None


def test_replies_that_earlier_versions_kept_are_read_as_today(
    tmp_path: Path, make_item: MakeItem
) -> None:
    item = make_item("a", filter=kept(IMAGES[:3]))
    with serving() as server:
        describe(tmp_path, [item], **openai(server))
        replies = sorted((tmp_path / "cache" / "replies").rglob("*.json"))
        told = {json.loads(path.read_text())["text"]: path for path in replies}
        kept_then = [
            {"text": "Hm.</think> A cat.<|im_end|>", "refusal": None, "tokens": 1},
            {"text": None, "refusal": "the model answered nothing", "tokens": 1},
            {"text": None, "refusal": "the model refused the image (safety)", "tokens": 1},
        ]
        for image, reply in zip(IMAGES, kept_then, strict=False):
            told[sentence_on(image)].write_text(json.dumps(reply))
        server.requests.clear()
        (lines,) = describe(tmp_path, [item], **openai(server))
        assert server.images == [IMAGES[1]]
    assert descriptions(lines) == ["A cat.", sentence_on(IMAGES[1]), None]


def test_numbers_that_no_call_can_cost_reach_no_clock(tmp_path: Path, make_item: MakeItem) -> None:
    numbers = [float("nan"), float("inf"), -5, 10**300, True, "7", [], None]
    item = make_item("a", filter=kept(IMAGES))

    def fault(number: int, request: Request) -> Answer:
        choice = {"message": {"content": "A cat."}, "finish_reason": "stop"}
        usage = {"total_tokens": numbers[number]} if number < 7 else numbers[number - 1]
        return answered({"choices": [choice], "usage": usage})

    with serving(fault=fault) as server:
        settings = openai(server, tokens_per_minute=6_000_000, reuse="off")
        (lines,) = describe(tmp_path, [item], **settings)
    assert set(descriptions(lines)) == {"A cat."}
