"""The roles that the command line names are the ones that can be built."""

from __future__ import annotations

import importlib
import inspect

import pytest

from callboard.bootstrap.distributed import ROLES
from callboard.cli import serve


def test_the_command_line_names_every_role() -> None:
    assert tuple(ROLES) == serve.ROLES


@pytest.mark.parametrize("where", ROLES.values(), ids=list(ROLES))
def test_each_role_is_built_by_a_function_of_its_own_module(where: str) -> None:
    module, _, name = where.partition(":")
    assert inspect.iscoroutinefunction(getattr(importlib.import_module(module), name))
