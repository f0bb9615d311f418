"""Whether the service lives, and whether it is ready."""

from fastapi import APIRouter
from pydantic import BaseModel

from stages.serve.desk.problems import RESPONSES, busy
from stages.serve.routes.asking import TheDesk


class Health(BaseModel):
    """How the service is."""

    status: str


routes = APIRouter(tags=["health"], responses=RESPONSES)
"""The addresses that say how the service is; they take no token."""


@routes.head("/healthz", include_in_schema=False)
@routes.get("/healthz", response_model=Health)
async def healthz() -> Health:
    """The service answers."""
    return Health(status="ok")


@routes.head("/readyz", include_in_schema=False)
@routes.get("/readyz", response_model=Health)
async def readyz(desk: TheDesk) -> Health:
    """The service takes jobs: every step is open, so that models are loaded."""
    desk.check_open()
    if not desk.jobs.is_ready:
        waiting = ", ".join(desk.jobs.opening) or "the work folder"
        raise busy(f"the service is starting: {waiting}", 2)
    return Health(status="ready")
