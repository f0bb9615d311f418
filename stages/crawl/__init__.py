"""The crawl: lists of video URLs to a deduplicated, described set of frames."""
