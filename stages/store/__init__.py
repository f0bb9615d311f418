"""The object store: files under the names of their contents, put there once, and links to them."""
