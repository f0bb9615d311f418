"""The outputs of stages on disk: scratch folders, committed as a whole or not at all."""
