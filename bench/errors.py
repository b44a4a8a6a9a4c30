"""What makes a run worthless."""


class Invalid(Exception):
    """A task is missing, was run twice, or has a wrong result: whatever was measured counts for nothing."""
