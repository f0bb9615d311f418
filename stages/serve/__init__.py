"""The pipelines behind HTTP: jobs that are posted, one resident run for all of them."""
