"""What a move is about: names, modes, plans, waves, findings, errors, options. No I/O, and no SDK is imported."""
