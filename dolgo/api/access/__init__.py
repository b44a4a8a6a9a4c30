"""Who may come in: credentials are checked, and what somebody may see and do."""
