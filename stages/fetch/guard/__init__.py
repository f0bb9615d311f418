"""Limits on yt-dlp: the addresses that it may reach, and the amounts that it reads."""
