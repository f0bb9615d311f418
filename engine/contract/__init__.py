"""What an author of stages and pipelines meets: errors, items, stages, pipelines. No I/O."""
