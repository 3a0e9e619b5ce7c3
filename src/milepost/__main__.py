"""`python -m milepost` is the command `milepost`."""

from milepost.cli import main

main()
