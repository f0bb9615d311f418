"""What a crawl of a given size will take: `penstock plan`."""
