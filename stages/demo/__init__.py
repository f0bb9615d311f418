"""The demo: videos that it makes itself, a crawl of them, and a verdict."""
