"""The child process where handlers live. From other rooms import `runner.link` alone."""
