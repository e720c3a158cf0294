"""Amounts of money in words."""

from __future__ import annotations


def told_usd(usd: float) -> str:
    """`$2.50`; what is no whole cents to the hundredth of a cent, so that a small limit is no `$0.00`: `$0.0075`."""
    cents = usd * 100
    return f"${usd:.2f}" if abs(cents - round(cents)) < 0.005 else f"${usd:.4f}"
