"""What BullMQ's worker does by the wall clock, or only once, is done here by a clock that nobody
sets, and until it is done: one that is set back loses no lock, a Redis that is away no result."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    import bullmq

log = logging.getLogger("penstock.worker")

RENEWALS = 4
"""Renewals of a lock in the time for which it holds."""

AGAIN = 1.0
"""Seconds until a Redis that was away is asked again, as BullMQ has it too."""

NO_RENEWALS: Mapping[str, Any] = {"lockRenewTime": 0}
"""Options of a worker that renews no locks: it would do that by the wall clock, and not at all for
as long as that was put back."""


async def renew_locks(
    worker: "bullmq.Worker",
    seconds: float,
    lost: Callable[[list[str]], object],
    tell: Callable[[object], object],
) -> None:
    """Renew the locks of all jobs of the worker, each for so many seconds, again and again, until
    cancelled; also of those whose end is just being told. `lost` is called with the ids of jobs
    whose locks are another worker's, `tell` with what goes wrong."""
    while True:
        await anyio.sleep(seconds / RENEWALS)
        held = list(worker.jobs)
        if not held:
            continue
        ids, tokens = [str(job.id) for job, _ in held], [token for _, token in held]
        try:
            gone = await worker.backend.extendLocks(ids, tokens, int(seconds * 1000))
        except Exception as error:  # they are renewed the next time
            tell(error)
        else:
            if gone:
                lost([str(one) for one in gone])


async def complete(
    worker: "bullmq.Worker",
    job: "bullmq.Job",
    token: str,
    result: Mapping[str, Any],
    tell: Callable[[object], object],
) -> None:
    """Have the job completed. What Redis does not take, as while it is away or a replica, is told
    again until it does, or the job is another worker's: BullMQ would say that the job has failed,
    as soon as Redis takes that."""
    from redis.exceptions import RedisError

    keep = job.opts.get("removeOnComplete", False)
    while True:
        try:
            await worker.backend.moveToCompleted(job, result, keep, token, fetch_next=False)
        except (RedisError, OSError) as error:
            tell(error)
            await anyio.sleep(AGAIN)
        except TypeError as error:  # BullMQ's, where the job has no lock of this token any more
            log.info("job %s: its result is not told: %s", job.id, error)
            return
        else:
            return
