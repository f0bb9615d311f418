"""The dataset in others' formats."""
