"""`penstock bench`: which numbers of workers are best, tried for real or on a model."""
