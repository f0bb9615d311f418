"""Addresses, and the failures between this machine and a server."""
