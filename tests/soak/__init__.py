"""Proofs that take longer than a run of the tests may."""
