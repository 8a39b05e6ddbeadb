"""Text from outside, such as client IDs, names and reasons, on its way to a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text without what would control a terminal: escapes, ends of lines, changes of direction."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
