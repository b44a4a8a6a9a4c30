"""The sentences a store writes by itself, where a rule must be atomic. Every store writes the same ones."""

CANCELLED_QUEUED = "Cancelled before it started."  # a cancel met a task that was queued
CANCELLED_AGAIN = "Cancelled; it does not run again."  # a task that was asked to be cancelled would have been queued again
