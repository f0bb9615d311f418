"""What every refusal of a person's mistake has in common."""

from tests.acceptance.command import Ran


def check_refused(ran: Ran, *words: str) -> str:
    """Refused with exit code 2 and one line for the mistake, before anything was done."""
    assert ran.code == 2, ran.said
    assert ran.out == ""
    assert "Traceback" not in ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith(("penstock: ", "Error: "))]
    assert len(lines) == 1, ran.err
    for word in words:
        assert word in lines[0]
    return lines[0]


def check_refused_at_start(ran: Ran, *words: str) -> None:
    """Refused with exit code 2 and one line, by something that only a run can find out."""
    assert ran.code == 2, ran.said
    assert "Traceback" not in ran.said
    (line,) = [line for line in ran.err.splitlines() if line.startswith("penstock: ")]
    for word in words:
        assert word in line
