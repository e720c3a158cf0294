"""Assertions in the modules beside the tests explain themselves too."""

import pytest

pytest.register_assert_rewrite("tests.faults.run_invariants", "tests.faults.run_driver")
