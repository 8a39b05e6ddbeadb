"""Errors of the lab, one line each."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot continue; the text is one line with the problem and what to do."""
