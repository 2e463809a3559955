"""`python -m gencli`."""

from gencli.cli import main

main()
