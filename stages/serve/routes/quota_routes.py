"""What a caller may still ask for, and the refusal of one whose quota of costs is used up."""

import time

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, Field

from stages.serve.desk.desk import Desk
from stages.serve.desk.problems import RESPONSES, HttpRefusal, busy
from stages.serve.desk.tokens import Caller
from stages.serve.queue.costs_table import resets
from stages.serve.routes.asking import Asking, TheDesk

routes = APIRouter(tags=["quota"], responses=RESPONSES)
"""The address of a caller's quota."""


class CostQuota(BaseModel):
    """The paid requests that the caller's jobs have made today, and may make."""

    used: float
    limit: int | None = Field(description="None: any number.")
    left: float | None = Field(description="None: any number.")
    resets: str = Field(description="When the day ends: ISO 8601, UTC.")


@routes.get("/quota", response_model=CostQuota)
async def get_quota(desk: TheDesk, caller: Asking) -> CostQuota:
    """What your jobs have cost today, in paid requests, and what is left."""
    return await _quota(desk, caller)


def cost_refusal(caller: Caller) -> HttpRefusal:
    """The refusal of a job because of what the caller's jobs have cost today."""
    ends = resets()
    wait = max(1, int(ends.timestamp() - time.time()) + 1)
    told = (
        f"none of the {caller.cost} paid requests that your jobs may make in a day is left; "
        f"post it again after {ends.isoformat(timespec='seconds')}"
    )
    return busy(told, wait, 429)


async def _quota(desk: Desk, caller: Caller) -> CostQuota:
    used = round(await to_thread.run_sync(desk.table.costs.spent, caller.name), 3)
    left = max(0.0, caller.cost - used) if caller.cost is not None else None
    ends = resets().isoformat(timespec="seconds")
    return CostQuota(used=used, limit=caller.cost, left=left, resets=ends)
