"""Calls to a paid server: requests, rates, pauses, retries, and answers that are kept."""
