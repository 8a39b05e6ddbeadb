"""Where a client's messages come from, and the answers that each source gets."""
