"""What is heard in a lesson: voices, and when each sentence is said."""
