"""dolgo beside other task queues on the same server, in one run: `python -m bench.peers`, or `make bench-peers`."""
