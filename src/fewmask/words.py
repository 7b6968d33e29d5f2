"""Amounts as people read them."""

from __future__ import annotations


def duration(seconds: float | None) -> str:
    """``"4 min 12 s"``."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def count(amount: int, thing: str) -> str:
    """``"1 scan"``, ``"12 000 scans"``; the space is one that does not break and that every code page has."""
    return f"{amount:,} {thing}{'' if amount == 1 else 's'}".replace(",", "\u00a0")
