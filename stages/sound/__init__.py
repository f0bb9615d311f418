"""The sound of videos: the track as samples, on the video's time, and tags of it."""
