"""Addresses, and what goes wrong between here and a server."""
