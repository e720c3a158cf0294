"""The composition root: the only place that names concrete adapters.

`core` wires the bus and the store, `crew` those who work, `desk` what faces people, `system` ties them together.
"""

from callboard.bootstrap.crew import Tuning
from callboard.bootstrap.system import System, data_folder, embedded, migrate, up

__all__ = ["System", "Tuning", "data_folder", "embedded", "migrate", "up"]
