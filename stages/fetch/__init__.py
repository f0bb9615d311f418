"""Videos from the network: the download, by yt-dlp, and what it finds out."""
