"""What yt-dlp may reach, and how much it reads."""
