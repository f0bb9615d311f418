"""Near-duplicate pictures: perceptual hashes and their neighbours."""
