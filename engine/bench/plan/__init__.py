"""Plans for a run of a given size: `penstock plan`."""
