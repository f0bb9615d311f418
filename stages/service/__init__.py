"""The pipelines as a service: jobs that come by a queue, one resident run for all of them."""
