"""The recipe pipeline: one short video becomes a structured document, within seconds."""
