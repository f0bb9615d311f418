"""What has come of an item as one file in an object store, with links to the files beside it."""
