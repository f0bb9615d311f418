"""What was found wrong with a video, as a person reads it."""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(slots=True)
class Damage:
    """What was found wrong with a video: each kind counted, and the second it was first seen at."""

    notes: list[str] = field(default_factory=list)
    _counted: dict[tuple[str, str], tuple[int, Fraction]] = field(default_factory=dict)

    def count(self, one: str, many: str, time: Fraction) -> None:
        """One more of a kind: ("packet could not be decoded", "packets could not …", 1.2)."""
        times, first = self._counted.get((one, many), (0, time))
        self._counted[one, many] = (times + 1, min(first, time))

    def add(self, other: "Damage") -> None:
        """What was found there too, of other kinds than here."""
        self.notes += other.notes
        self._counted |= other._counted

    def sentences(self) -> list[str]:
        """One line for each kind of damage: what, how often, and when first."""
        lines = []
        for (one, many), (times, first) in self._counted.items():
            what = f"1 {one}, at" if times == 1 else f"{times} {many}, first at"
            lines.append(f"{what} {float(first):.1f} s")
        return [*lines, *dict.fromkeys(self.notes)]
