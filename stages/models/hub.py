"""The Hugging Face hub, from which models are fetched once."""

from stages.models.yolo import PATIENCE


def reach_hub() -> None:
    """Returns where the hub answers. Raises httpx.HTTPError where it does not: its own client would
    try again for half a minute, and tell of each try."""
    import httpx
    from huggingface_hub import constants

    httpx.head(constants.ENDPOINT, timeout=PATIENCE)
