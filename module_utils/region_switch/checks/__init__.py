"""Checks before anything is changed, whose findings may block it."""
