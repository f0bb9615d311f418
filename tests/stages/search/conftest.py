"""The database that tests of the sinks have."""

from tests.stages.sinks.conftest import postgres, schema

__all__ = ["postgres", "schema"]
