"""The scenes on the report page: a list, a search box, and a click that opens the video there."""
