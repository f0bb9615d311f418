"""The contract for authors of stages and pipelines: errors, items, stages, pipelines. No I/O."""
