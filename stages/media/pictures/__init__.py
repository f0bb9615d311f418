"""From decoded frames to pictures: colour, orientation, aspect, quality."""
