"""The command `penstock`: one file a command or group of them."""
