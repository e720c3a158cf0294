"""A side of a comparison that finds what it is told."""

from __future__ import annotations

from benchmarks.rounds import arguments, report

if __name__ == "__main__":
    report(figure=arguments()["figure"])
