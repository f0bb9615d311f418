"""Videos from the network: the download by yt-dlp, and the description of each video."""
