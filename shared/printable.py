"""Text that came over the network, as a terminal or a page may have it."""

from __future__ import annotations


def printable(text: str) -> str:
    """Show control and direction characters instead of sending them; keep line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )
