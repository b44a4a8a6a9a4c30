"""Requests made on behalf of others: they reach public addresses, and others only where a setting allows it."""
