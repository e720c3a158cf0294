"""Secrets stand only as references, are resolved where they are used, and Callboard's own cannot be had."""

from __future__ import annotations

import pytest

from callboard.config.secrets import known_secrets, literal_secret, references, refused_reason, resolve, resolve_tree
from callboard.errors import ForbiddenError, InvalidInputError

ENVIRONMENT = {"REPORTING_DSN": "postgres://me:hunter22@db/x", "SLACK_BOT_TOKEN": "xoxb-1", "EMPTY": ""}


def test_references_are_replaced_in_texts_mappings_and_lists() -> None:
    tree = {"a": ["x ${env:REPORTING_DSN}", 7], "b": None, "${env:EMPTY}": "[${env:EMPTY}]"}
    assert resolve_tree(tree, ENVIRONMENT) == {
        "a": ["x postgres://me:hunter22@db/x", 7],
        "b": None,
        "${env:EMPTY}": "[]",
    }
    assert set(references(tree)) == {"REPORTING_DSN", "EMPTY"}


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"\$\{env:NOPE\} is not set"):
        resolve("${env:NOPE}", ENVIRONMENT)


@pytest.mark.parametrize(
    "name", ["SLACK_BOT_TOKEN", "CALLBOARD_API_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY",
             "DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "slack_bot_token", "A B", ""]
)  # fmt: skip
def test_what_belongs_to_callboard_is_refused_when_used_too(name: str) -> None:
    assert refused_reason(name) is not None
    with pytest.raises(ForbiddenError):
        resolve(f"${{env:{name}}}", {name: "secret"})


def test_what_a_value_holds_is_not_expanded_again() -> None:
    assert resolve("${env:A}", {"A": "${env:B}", "B": "secret"}) == "${env:B}"


def test_the_values_to_redact_are_found_by_name_by_reference_and_inside_urls() -> None:
    environment = {
        "MY_TOKEN": "t0ken",
        "DB": "postgres://me:hunter22@db/x",
        "HOME": "/root",
        "X": "ref",
        "A_SECRET": "",
    }
    assert known_secrets(environment, frozenset({"X"})) == {"t0ken", "hunter22", "ref"}


def test_a_password_that_is_the_users_name_is_a_common_word_and_stays_readable() -> None:
    assert known_secrets({"RABBITMQ_URL": "amqp://guest:guest@host/", "A": "postgresql://me:mine@host/x"}) == {"mine"}


@pytest.mark.parametrize(
    "text",
    ["sk-ant-" + "a" * 30, "xoxb-123456789-abc", "AKIAABCDEFGHIJKLMNOP", "ghp_" + "a" * 30,
     "-----BEGIN RSA PRIVATE KEY-----", "amqp://guest:guest@host"],
)  # fmt: skip
def test_literal_secrets_are_recognised(text: str) -> None:
    assert literal_secret(f"key: {text}") is not None


@pytest.mark.parametrize("text", ["risk-assessment-of-something", "https://example.com:8080/x", "a@b", "task-list"])
def test_ordinary_text_is_no_secret(text: str) -> None:
    assert literal_secret(text) is None


def test_a_reference_in_a_url_is_no_literal_password() -> None:
    assert literal_secret("postgres://me:${env:PW}@db/x") is None
