"""One role of the distributed system in this process (`callboard serve ROLE`).

`process` is what all of them have in common; each role's own file says what it alone is made of, and is loaded by that
role only.
"""

from callboard.bootstrap.distributed.process import ROLES, serve

__all__ = ["ROLES", "serve"]
