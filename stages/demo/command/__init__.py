"""The command `penstock demo`."""

from stages.demo.command.demos import demo

__all__ = ["demo"]
