"""From chosen frames to a document: notes of each frame, a schema, and what is written by it."""
