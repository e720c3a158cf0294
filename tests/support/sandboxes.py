"""What a test needs that runs code in bubblewrap."""

from __future__ import annotations

import os
import shutil

import pytest

_INSTALL = "bubblewrap is not installed: apt-get install bubblewrap (or run scripts/test as root on Debian)"

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None and os.environ.get("CI") != "true", reason=_INSTALL)
"""Skips on a laptop; in CI the test runs and fails, because there the sandbox has to be."""
