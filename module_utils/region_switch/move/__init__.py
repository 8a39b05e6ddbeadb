"""The move: from the current state to the proof that every client has landed."""
