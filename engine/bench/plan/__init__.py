"""What a run of a given size will take: `penstock plan`."""
