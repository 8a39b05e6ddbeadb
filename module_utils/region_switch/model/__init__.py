"""The data of a move: names, modes, plans, waves, findings, errors, options. No I/O, and no SDK is imported."""
