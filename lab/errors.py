"""What may go wrong with the lab, each said in one line."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot go on; the text names the thing, what was found and what to do."""
