"""The damage found in a video, in words for a person."""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(slots=True)
class Damage:
    """The damage found in a video: each kind with its count, and the second of its first case."""

    notes: list[str] = field(default_factory=list)
    _counted: dict[tuple[str, str], tuple[int, Fraction]] = field(default_factory=dict)

    def count(self, one: str, many: str, time: Fraction) -> None:
        """Count one case of a kind: ("packet could not be decoded", "packets could not …", 1.2)."""
        times, first = self._counted.get((one, many), (0, time))
        self._counted[one, many] = (times + 1, min(first, time))

    def add(self, other: "Damage") -> None:
        """Add damage of kinds that are not counted here yet."""
        self.notes += other.notes
        self._counted |= other._counted

    def sentences(self) -> list[str]:
        """One line for each kind of damage: its name, its count, and its first time."""
        lines = []
        for (one, many), (times, first) in self._counted.items():
            what = f"1 {one}, at" if times == 1 else f"{times} {many}, first at"
            lines.append(f"{what} {float(first):.1f} s")
        return [*lines, *dict.fromkeys(self.notes)]
