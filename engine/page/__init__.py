"""The report page: what a work folder has come to and how, in a browser; from disk, or live."""
