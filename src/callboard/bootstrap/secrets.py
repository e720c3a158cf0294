"""The secrets of a process: where agent files find them, and who keeps them out of what is written and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from callboard.agents.execution_agent import ResolveSecrets
from callboard.bootstrap.core import Core
from callboard.config.catalog import Catalog
from callboard.config.secrets import is_telling, known_secrets, references, resolve_tree
from callboard.logs import Redactor
from callboard.settings import secret_values


def learn_secrets(core: Core, logs: Redactor, environment: Mapping[str, str]) -> Redactor:
    """From now on `logs` knows each secret of the environment that a definition refers to.

    Returns what keeps them out of the words of tools and models. It leaves alone what may be a common word: only logs
    are kept free of all that agent files refer to.
    """
    heard = Redactor((*known_secrets(environment), *secret_values(core.settings)))
    core.catalog.subscribe(_learner(logs, environment))
    core.catalog.subscribe(_learner(heard, environment, only=is_telling))
    return heard


def secrets_from(environment: Mapping[str, str]) -> ResolveSecrets:
    """Fills in what the environment has; its InvalidInputError names what is not set."""

    def resolve(options: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        resolved = resolve_tree(options, environment)
        assert isinstance(resolved, dict)  # noqa: S101  # a mapping stays one
        return resolved

    return resolve


def _learner(
    redactor: Redactor, environment: Mapping[str, str], *, only: Callable[[str], bool] = bool
) -> Callable[[Catalog], None]:
    def learn(catalog: Catalog) -> None:
        names = {name for entry in catalog for tool in entry.definition.tools for name in references(tool.model_dump())}
        redactor.add(*(value for value in known_secrets(environment, frozenset(names)) if only(value)))

    return learn
