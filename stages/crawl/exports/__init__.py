"""The dataset in others' formats: `penstock export`."""
