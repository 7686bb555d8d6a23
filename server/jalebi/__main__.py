"""`python -m jalebi`."""

from jalebi.cli import main

main()
