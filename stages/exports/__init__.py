"""What came out of a run, in others' formats: `penstock export`."""
