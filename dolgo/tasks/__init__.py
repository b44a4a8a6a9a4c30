"""Built-in task types, one file each."""
