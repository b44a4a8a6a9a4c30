"""dolgo on Redis beside other task queues on the same Redis, in one run: `python -m bench.peers`, or `make bench-peers`."""
