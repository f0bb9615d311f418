"""The servers of benchmarks: nobody waits for one that has died."""

import os
from multiprocessing.connection import Connection

import pytest

from benchmarks.servers import in_a_process


def dies(pipe: Connection) -> None:
    os._exit(7)


def answers(word: str, pipe: Connection) -> None:
    pipe.send(word)
    pipe.send(pipe.recv() + word)
    os._exit(0)


def test_a_server_that_dies_before_it_serves_is_named() -> None:
    with (
        pytest.raises(RuntimeError, match="dies ended, with exit code 7, before it served"),
        in_a_process(dies),
    ):
        pass


def test_one_that_dies_later_leaves_nobody_waiting() -> None:
    with in_a_process(answers, "here") as (pipe, first):
        assert first == "here"
        pipe.send("still ")
        assert pipe.recv() == "still here"
        with pytest.raises(EOFError):
            pipe.recv()
