"""Measurements and messages: events, statistics, processor time, amounts in words."""
