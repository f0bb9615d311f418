"""Vision protocols, what servers' errors mean, the gate, and a mock of the real services."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine import Item, StopRun
from stages.calls.api import UnexpectedReply
from stages.calls.problem import read_problem
from stages.calls.rate import CallGate, PausedTooLong
from stages.vision.api import Gemini, OpenAI, Question, Reply, Subject
from tests.stages.aimock import BACKENDS, journal, serving_aimock
from tests.stages.describing import describe, kept, picture
from tests.stages.vision_server import problem, sentence_on, serving
from tests.virtual_time import run_in_virtual_time

QUESTION = Question(model="eye", prompt="What?", max_tokens=50, temperature=0.0, detail="auto")


@pytest.mark.parametrize(
    ("base_url", "options", "url", "headers"),
    [
        (
            "https://api.openai.com/v1",
            {},
            "https://api.openai.com/v1/chat/completions",
            {"Authorization": "Bearer k"},
        ),
        (
            "http://localhost:11434/v1/chat/completions",
            {},
            "http://localhost:11434/v1/chat/completions",
            {"Authorization": "Bearer k"},
        ),
        (
            "https://my.openai.azure.com",
            {},
            "https://my.openai.azure.com/openai/deployments/eye/chat/completions"
            "?api-version=2024-10-21",
            {"api-key": "k"},
        ),
        (
            "https://my.openai.azure.com/openai/deployments/d",
            {"api_version": "2025-01-01-preview"},
            "https://my.openai.azure.com/openai/deployments/d/chat/completions"
            "?api-version=2025-01-01-preview",
            {"api-key": "k"},
        ),
        (
            "https://my.openai.azure.com/openai/v1",
            {},
            "https://my.openai.azure.com/openai/v1/chat/completions",
            {"api-key": "k"},
        ),
        (
            "https://gateway.example/openai/deployments/d",
            {"auth": "api-key", "api_version": "2024-10-21"},
            "https://gateway.example/openai/deployments/d/chat/completions?api-version=2024-10-21",
            {"api-key": "k"},
        ),
    ],
)
def test_where_openai_requests_go(
    base_url: str, options: dict[str, Any], url: str, headers: dict[str, str]
) -> None:
    api = OpenAI(QUESTION, base_url, **options)
    assert api.url == url
    assert api.headers("k") == headers


def test_the_level_of_detail_is_asked_for_in_each_protocols_words() -> None:
    question = Question("models/eye", "What?", 50, None, "low")
    image = OpenAI(question, "http://x").body(Subject((b"j",)))["messages"][0]["content"][1][
        "image_url"
    ]
    assert image == {"url": "data:image/jpeg;base64,ag==", "detail": "low"}
    gemini = Gemini(question, "http://x/v1beta/")
    assert gemini.url == "http://x/v1beta/models/eye:generateContent"
    config = gemini.body(Subject((b"j",)))["generationConfig"]
    assert config == {"maxOutputTokens": 50, "mediaResolution": "MEDIA_RESOLUTION_LOW"}


@pytest.mark.parametrize(
    ("message", "reason", "reply"),
    [
        ({"content": " A cat\non a mat. "}, "stop", Reply("A cat on a mat.", None, 7)),
        ({"content": [{"type": "text", "text": "A cat."}]}, "stop", Reply("A cat.", None, 7)),
        ({"content": "<think>hm</think>A cat."}, "stop", Reply("A cat.", None, 7)),
        ({"content": None, "refusal": "No."}, "stop", Reply(None, "No.", 7)),
        ({"content": ""}, "stop", Reply(None, "the model answered nothing", 7)),
        (
            {"content": ""},
            "length",
            Reply(
                None,
                "the model used its 50 tokens before it wrote a word; raise max_tokens",
                7,
            ),
        ),
        (
            {"content": None},
            "content_filter",
            Reply(None, "the model refused the image (content_filter)", 7),
        ),
    ],
)
def test_openai_replies(message: dict[str, Any], reason: str, reply: Reply) -> None:
    payload = {
        "choices": [{"message": message, "finish_reason": reason}],
        "usage": {"total_tokens": 7},
    }
    assert OpenAI(QUESTION, "http://x").reply(payload) == reply


def test_gemini_replies() -> None:
    api = Gemini(QUESTION, "http://x")
    parts = [{"text": "Hm.", "thought": True}, {"text": "A cat "}, {"text": "sleeps."}]
    usage = {"usageMetadata": {"totalTokenCount": 9}}
    answer = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]} | usage
    assert api.reply(answer) == Reply("A cat sleeps.", None, 9)
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    assert api.reply(blocked) == Reply(None, "the model refused the image (safety)", None)
    cut = {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]}
    assert "raise max_tokens" in str(api.reply(cut).refusal)


@pytest.mark.parametrize("payload", [None, [], {}, {"choices": []}, {"candidates": [3]}, "text"])
def test_what_is_no_reply_is_said_to_be_none(payload: Any) -> None:
    for api in (OpenAI(QUESTION, "http://x"), Gemini(QUESTION, "http://x")):
        with pytest.raises(UnexpectedReply):
            api.reply(payload)


def google(status: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": 429, "message": "Busy.", "status": status, "details": list(details)}}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
PER_DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}


@pytest.mark.parametrize(
    ("status", "headers", "body", "remedy", "wait"),
    [
        (429, {"retry-after": "7"}, {}, "slow down", 7),
        (429, {"retry-after-ms": "250", "retry-after": "1"}, {}, "slow down", 0.25),
        (429, {}, google("RESOURCE_EXHAUSTED", RETRY_INFO), "slow down", 34.07),
        (429, {}, [google("RESOURCE_EXHAUSTED", RETRY_INFO)], "slow down", 34.07),
        (429, {}, google("RESOURCE_EXHAUSTED", PER_DAY, RETRY_INFO), "money", 34.07),
        (429, {}, {"error": {"code": "insufficient_quota"}}, "money", None),
        (429, {"retry-after": "soon"}, {}, "slow down", None),
        (429, {"retry-after": "inf"}, {}, "slow down", None),
        (429, {"retry-after": "NaN"}, {}, "slow down", None),
        (429, {"retry-after": "-1"}, {}, "slow down", None),
        (429, {"retry-after-ms": "nan", "retry-after": "2"}, {}, "slow down", 2),
        (429, {"retry-after": "1 Jan 99999999999 00:00:00 GMT"}, {}, "slow down", None),
        (503, {"retry-after": "3"}, {}, "try again", 3),
        (529, {}, {}, "try again", None),
        (400, {}, {"error": {"code": "content_filter"}}, "image", None),
        (400, {}, {"error": {"message": "m", "code": "image_parse_error"}}, "image", None),
        (413, {}, {}, "image", None),
        (404, {}, {"error": "model 'eye' not found"}, "request", None),
        (404, {}, {"error": {"code": "DeploymentNotFound"}}, "request", None),
        (400, {}, {"object": "error", "message": "no", "type": "BadRequestError"}, "request", None),
        (400, {}, google("INVALID_ARGUMENT", {"reason": "API_KEY_INVALID"}), "key", None),
    ],
)
def test_what_errors_mean(
    status: int, headers: dict[str, str], body: Any, remedy: str, wait: float | None
) -> None:
    found = read_problem(status, headers, json.dumps(body).encode())
    assert found.remedy == remedy
    assert found.wait == wait


def test_a_date_to_wait_for() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert read_problem(429, {"retry-after": date}, b"").wait == pytest.approx(90, abs=5)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=90), usegmt=True)
    assert not read_problem(429, {"retry-after": past}, b"").wait


def test_an_error_page_becomes_one_line() -> None:
    assert read_problem(502, {}, b"<html>\n<h1>Bad\n gateway</h1>").message == (
        "<html> <h1>Bad gateway</h1>"
    )


def test_a_gate_that_is_closed_for_long_says_so_at_once() -> None:
    async def main() -> None:
        gate = CallGate(2, None, None, expected_tokens=100)
        await gate.pause(3600)
        with pytest.raises(PausedTooLong) as told:
            async with gate.turn(patience=5):
                pass
        assert told.value.seconds == pytest.approx(3600, abs=5)

    run_in_virtual_time(main)


def test_pauses_grow_while_the_server_does_not_say_how_long() -> None:
    async def main() -> None:
        gate = CallGate(2, None, None, expected_tokens=100)
        first = await gate.pause(None)
        assert 0.7 < first <= 1
        assert (
            await gate.pause(None) <= first
        )  # answers to what was sent before the pause are no news
        await anyio.sleep(first)
        assert 1.4 < await gate.pause(None) <= 2
        gate.answered(None, 100)
        gate.answered(None, 100)
        await anyio.sleep(2)
        assert await gate.pause(None) <= 1

    run_in_virtual_time(main)


def test_a_lone_refusal_costs_the_time_of_one_request() -> None:
    async def main() -> None:
        gate = CallGate(2, 600, None, expected_tokens=100)
        for _ in range(3):  # each refusal is followed by an answer, so the guess does not grow
            pause = await gate.pause(None)
            assert 0.05 < pause <= 0.1
            await anyio.sleep(pause)
            gate.answered(None, 100)

    run_in_virtual_time(main)


def test_refusals_that_outnumber_answers_slow_down_ever_more() -> None:
    async def main() -> None:
        gate = CallGate(2, 60_000, None, expected_tokens=100)
        pauses = []
        for _ in range(8):
            for _ in range(2):
                pauses.append(await gate.pause(None))
                await anyio.sleep(pauses[-1])
            gate.answered(None, 100)
        assert pauses[-1] > 100 * pauses[0]

    run_in_virtual_time(main)


def test_tokens_charged_too_low_are_paid_back() -> None:
    async def main() -> float:
        gate = CallGate(1, None, 60_000, expected_tokens=1000)  # 1,000 a second, 5,000 at once
        begin = anyio.current_time()
        for _ in range(4):
            async with gate.turn(0) as charged:
                gate.answered(1500, charged)
        return anyio.current_time() - begin

    # 4 x 1,500 tokens, less the burst. At the first guess they would not have to wait.
    assert 0.8 <= run_in_virtual_time(main) < 3


def test_newer_models_parameters_are_found_out(
    tmp_path: Path, make_item: Callable[..., Item]
) -> None:
    def picky(number: int, request: Any) -> Any:
        for name in ("max_tokens", "temperature"):
            if name in request.body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                return problem(400, message=message, code="unsupported_parameter", param=name)
        return None

    images = [picture(seed) for seed in range(10)]
    item = make_item("a", filter=kept(images))
    with serving(fault=picky) as server:
        (lines,) = describe(
            tmp_path, [item], backend="openai", base_url=server.origin, concurrency=2
        )
    assert [line["description"] for line in lines] == [sentence_on(image) for image in images]
    assert len(server.requests) <= 10 + 2 * 2
    assert server.requests[-1].body["max_completion_tokens"] == 300


# The mock of the real services: another's idea of what they answer.


@pytest.fixture
def aimock(tmp_path: Path) -> Iterator[str]:
    """The address of the mock, which first says 429, then 500, then what it sees."""
    slow = {"error": {"message": "Slow down."}, "status": 429, "retryAfter": 1}
    broken = {"error": {"message": "Oops."}, "status": 500}
    entries: list[dict[str, Any]] = [
        {"match": {"userMessage": "Describe", "sequenceIndex": 0}, "response": slow},
        {"match": {"userMessage": "Describe", "sequenceIndex": 1}, "response": broken},
        {"match": {"userMessage": "Describe"}, "response": {"content": "A cat on a mat."}},
    ]
    with serving_aimock(tmp_path / "fixtures", entries) as url:
        yield url


@pytest.mark.parametrize(("backend", "path"), BACKENDS)
def test_aimock_describes_through_its_faults(
    tmp_path: Path,
    make_item: Callable[..., Item],
    aimock: str,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    path: str,
) -> None:
    monkeypatch.setenv("MOCK_API_KEY", "right")
    item = make_item("a", filter=kept([picture(seed) for seed in range(10)]))
    settings = {"base_url": aimock + path, "api_key_env": "MOCK_API_KEY"}
    (lines,) = describe(tmp_path, [item], backend=backend, **settings)
    assert {line["description"] for line in lines} == {"A cat on a mat."}
    answers = Counter(entry["response"]["status"] for entry in journal(aimock))
    assert answers == {429: 1, 500: 1, 200: 10}


@pytest.mark.parametrize(("backend", "path"), BACKENDS)
def test_aimock_refuses_a_wrong_key(
    tmp_path: Path,
    make_item: Callable[..., Item],
    aimock: str,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    path: str,
) -> None:
    monkeypatch.setenv("MOCK_API_KEY", "wrong")
    item = make_item("a", filter=kept([picture(0)]))
    with pytest.raises(StopRun, match=re.escape("environment variable MOCK_API_KEY")):
        describe(
            tmp_path, [item], backend=backend, base_url=aimock + path, api_key_env="MOCK_API_KEY"
        )
