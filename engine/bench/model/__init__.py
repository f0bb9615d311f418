"""A model of the engine: predicts a run with other workers from recorded attempts."""
