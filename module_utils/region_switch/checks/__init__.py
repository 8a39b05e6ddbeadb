"""What is looked at before anything is changed, and would speak against it."""
