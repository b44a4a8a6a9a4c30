"""Measures dolgo beside the floors it stands on, in one run: `python -m bench`, or `make bench`."""
