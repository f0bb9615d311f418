"""The command under its own name: `python -m penstock`. The code is in `engine` and `stages`."""
