"""What is seen in a lesson: pictures that are given, and cards that are drawn."""
