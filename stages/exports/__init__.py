"""The formats that a dataset can be exported to, one a file: each has write(dataset, out)."""
