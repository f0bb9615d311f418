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


TAKE_AGAIN = """
if redis.call("EXISTS", KEYS[1]) == 1 or not redis.call("LPOS", KEYS[2], ARGV[3]) then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
redis.call("SREM", KEYS[3], ARGV[3])
return 1
"""
"""Takes the lock of a job that is being done, and that nobody has a lock of: it has run out while
Redis answered nobody. Whoever is given such a job has a lock of it from the first moment."""


async def is_held(worker: "bullmq.Worker", id_: str, token: str, seconds: float) -> bool:
    """Renew the job's lock for so many seconds, or take it again where it has run out and nobody
    has the job yet; whether it is this token's."""
    held = int(seconds * 1000)
    if await worker.backend.extendLock(id_, token, held):
        return True
    return bool(await _take_again(worker, id_, token, held))


async def _take_again(worker: "bullmq.Worker", id_: str, token: str, held: int) -> Any:
    name = worker.qualifiedName
    keys = [f"{name}:{id_}:lock", f"{name}:active", f"{name}:stalled"]
    return await worker.client.eval(TAKE_AGAIN, len(keys), *keys, token, held, id_)


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
        tokens = {str(job.id): token for job, token in held}
        each = list(tokens), list(tokens.values())
        try:
            missing = map(str, await worker.backend.extendLocks(*each, int(seconds * 1000)) or ())
            gone = [id_ for id_ in missing if not await is_held(worker, id_, tokens[id_], seconds)]
        except Exception as error:  # they are renewed the next time
            tell(error)
        else:
            if gone:
                lost(gone)


async def complete(
    worker: "bullmq.Worker",
    job: "bullmq.Job",
    token: str,
    result: Mapping[str, Any],
    seconds: float,
    tell: Callable[[object], object],
) -> None:
    """Have the job completed. What Redis does not take, as while it is away or a replica, is told
    again until it does, or the job is another worker's: BullMQ would say that the job has failed,
    as soon as Redis takes that."""
    from redis.exceptions import RedisError

    keep, has_taken_again = job.opts.get("removeOnComplete", False), False
    while True:
        try:
            await worker.backend.moveToCompleted(job, result, keep, token, fetch_next=False)
        except (RedisError, OSError) as error:
            tell(error)
            await anyio.sleep(AGAIN)
        except TypeError as error:  # BullMQ's, where the job has no lock of this token any more
            if not has_taken_again:
                has_taken_again = await _is_held_surely(worker, str(job.id), token, seconds, tell)
                if has_taken_again:
                    continue
            log.info("job %s: its result is not told: %s", job.id, error)
            return
        else:
            return


async def _is_held_surely(
    worker: "bullmq.Worker",
    id_: str,
    token: str,
    seconds: float,
    tell: Callable[[object], object],
) -> bool:
    """As `is_held`, asked until Redis answers."""
    from redis.exceptions import RedisError

    while True:
        try:
            return await is_held(worker, id_, token, seconds)
        except (RedisError, OSError) as error:
            tell(error)
            await anyio.sleep(AGAIN)
