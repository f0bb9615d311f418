"""A model of the engine: what a run would take with other workers, from recorded attempts."""
