"""Callboard: agents on call for a team."""
