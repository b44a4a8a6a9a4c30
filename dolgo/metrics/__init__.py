"""What a process counts and measures of itself, and how it is shown to Prometheus."""
