"""The lesson pipeline: a script becomes a narrated, captioned video."""
