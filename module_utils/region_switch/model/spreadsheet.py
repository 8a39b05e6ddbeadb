"""Text in CSV files that people open in a spreadsheet."""

from __future__ import annotations

# https://owasp.org/www-community/attacks/CSV_Injection, which names the full-width characters, too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell(text: str) -> str:
    """Text that no spreadsheet treats as a formula: an apostrophe precedes what could be one."""
    return f"'{text}" if text.startswith(_FORMULA) else text
