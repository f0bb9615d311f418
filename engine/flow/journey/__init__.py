"""One item's way through the graph: its ends, what earlier runs left, and how it enters a run."""

from engine.flow.journey.graph import Graph
from engine.flow.journey.journey import Journey

__all__ = ["Graph", "Journey"]
