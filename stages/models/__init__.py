"""The detector: weights, inference, one model for several workers."""
