"""Where a client's messages come from, and what each source is told of its messages."""
