"""Being an attempt: what a stage's `process` runs in, so that a test can give it up."""

from collections.abc import Iterator
from contextlib import contextmanager

from engine.contract.stage import Cancellation, current_attempt


@contextmanager
def attempting(cancellation: Cancellation) -> Iterator[None]:
    """Inside, `checkpoint` answers to `cancellation`, as it does in a worker."""
    token = current_attempt.set(cancellation)
    try:
        yield
    finally:
        current_attempt.reset(token)
