"""The demo: the whole product at work on this machine, everything it prints read from the running system.

`callboard up` runs as a user would run it, in a process of its own that can be killed; the local Slack stands in for
Slack, and the simulator for a person who types and clicks there.
"""

from callboard.demo.show import run

__all__ = ["run"]
