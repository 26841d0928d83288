"""python -m fedtailor.cli: the same as the command fedtailor."""

from .main import main

main()
