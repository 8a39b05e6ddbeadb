"""The move itself: from what is found to the proof that every client has landed."""
