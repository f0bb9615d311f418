"""What the page says that is to be dropped is what its pipeline takes."""

from pathlib import Path

import pytest

from tests.engine.toys import line, toy
from tests.stages.serve.serving import serving


@pytest.mark.parametrize(
    ("unit", "takes", "told", "chosen", "has_addresses"),
    [
        ("video", "URL", "Drop videos here", 'accept="video/*,audio/*"', True),
        ("lesson", "FILE", "Drop files here", 'accept=""', False),
        ("page", "URL", "Drop files here", 'accept=""', True),
    ],
)
def test_the_page_asks_for_what_the_pipeline_takes(
    tmp_path: Path, unit: str, takes: str, told: str, chosen: str, has_addresses: bool
) -> None:
    pipeline = line(toy("a"), unit=unit, takes=takes)
    with serving(pipeline, tmp_path, ready=False) as service:
        page = service.client.get("/").text
    assert told in page
    assert chosen in page
    assert ('<form id="url-form" hidden>' not in page) is has_addresses
    assert "$" not in page
