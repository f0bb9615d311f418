"""Replies on disk."""

import os
from pathlib import Path

import anyio
import pytest

from stages.vision.api import Reply
from stages.vision.reply_cache import ReplyCache

REPLY = Reply("Ein Käfer.", None, 400)
IDENTITY = {"model": "eye", "prompt": "What?"}


def test_a_reply_is_found_again_by_model_question_and_image(tmp_path: Path) -> None:
    async def main() -> None:
        cache = ReplyCache(tmp_path, IDENTITY)
        key = cache.key(b"image")

        async def ask() -> Reply:
            return REPLY

        assert not cache.has(key)
        assert await cache.get(key, ask) == REPLY
        again = ReplyCache(tmp_path, dict(reversed(IDENTITY.items())))
        assert again.key(b"image") == key
        assert again.has(key)
        assert await again.read(key) == REPLY
        assert again.key(b"other") != key
        assert ReplyCache(tmp_path, IDENTITY | {"prompt": "Who?"}).key(b"image") != key

    anyio.run(main)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


def test_one_asks_for_all_and_if_it_fails_the_next_one_does(tmp_path: Path) -> None:
    asked: list[int] = []
    got: list[Reply | str] = []

    async def main() -> None:
        cache = ReplyCache(tmp_path, IDENTITY)
        key = cache.key(b"image")

        async def caller(number: int) -> None:
            async def ask() -> Reply:
                asked.append(number)
                await anyio.lowlevel.checkpoint()
                if number == 0:
                    raise ConnectionError("broken")
                return REPLY

            try:
                got.append(await cache.get(key, ask))
            except ConnectionError as error:
                got.append(str(error))

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(caller, number)

    anyio.run(main)
    assert asked == [0, 1]
    assert got == ["broken", REPLY, REPLY, REPLY, REPLY]


def test_a_reply_is_on_disk_before_anyone_sees_it_even_when_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        cache = ReplyCache(tmp_path, IDENTITY)
        key = cache.key(b"image")
        with anyio.CancelScope() as scope:

            async def ask() -> Reply:
                scope.cancel()  # Ctrl-C in the very moment that the answer came
                return REPLY

            await cache.get(key, ask)
            await anyio.lowlevel.checkpoint()
            raise AssertionError("not reached: it was cancelled")
        assert await cache.read(key) == REPLY

    anyio.run(main)


def test_a_kill_while_it_is_brought_to_the_disk_loses_no_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[bool] = []

    async def main() -> None:
        cache = ReplyCache(tmp_path, IDENTITY)
        key = cache.key(b"image")
        monkeypatch.setattr(os, "fsync", lambda _: there.append(cache.has(key)))

        async def ask() -> Reply:
            return REPLY

        await cache.get(key, ask)

    anyio.run(main)
    assert there == [True]


@pytest.mark.parametrize("left", [b"", b'{"text": "A c', b'{"other": 1}', b"[]"])
def test_what_a_power_cut_left_is_asked_again(tmp_path: Path, left: bytes) -> None:
    async def main() -> None:
        cache = ReplyCache(tmp_path, IDENTITY)
        key = cache.key(b"image")
        path = tmp_path / key[:2] / f"{key[2:]}.json"
        path.parent.mkdir()
        path.write_bytes(left)

        async def ask() -> Reply:
            return REPLY

        assert await cache.get(key, ask) == REPLY
        assert await ReplyCache(tmp_path, IDENTITY).read(key) == REPLY

    anyio.run(main)
