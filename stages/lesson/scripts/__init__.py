"""The scripts of lessons: read, checked, and split into sections."""
