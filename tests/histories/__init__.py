"""Recorded histories of runs, and how they are played again."""
