"""The crawl's dataset: dedup across videos, tables, card, gallery."""
