"""Models: weights, what runs them, inference, one model for several workers."""
