"""`python -m penstock`: the command, where its script is not on the PATH."""

from engine.cli.main import main

main(prog_name="penstock")
