"""What models see and hear in videos: captions, objects, sounds."""
