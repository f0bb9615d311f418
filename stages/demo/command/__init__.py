"""The command `penstock demo`."""
