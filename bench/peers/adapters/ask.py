"""`ask.py ADAPTER COMMAND …`: see contract.py. The adapter is imported, so that its worker knows its task by the same name."""

import importlib
import sys

from contract import main

main(importlib.import_module(sys.argv[1]).Peer())
