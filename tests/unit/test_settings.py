"""Settings: where they come from, what is refused, and that secrets stay hidden (DESIGN.md, R40)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from callboard.errors import InvalidInputError
from callboard.settings import Settings, dotenv_values, load_settings, secret_values

ROOT = Path(__file__).resolve().parents[2]
# The compose file's port (INTERFACE.md, section 2), and a token, without which the API does not start in a container.
_DIFFERENT_ON_PURPOSE = {"CALLBOARD_API_URL", "CALLBOARD_API_TOKEN"}
_OF_COMPOSE = {"CALLBOARD_IMAGE", "POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


def _example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))


def test_nothing_set_is_enough(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert (settings.host, settings.port, settings.database_url) == ("127.0.0.1", 8080, None)
    assert secret_values(settings) == ()


def test_the_example_names_exactly_the_variables_that_are_read() -> None:
    assert set(_example()) == {field.alias for field in Settings.model_fields.values()} | _OF_COMPOSE


def test_each_variable_of_the_example_has_its_comment() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[A-Z_]+=", line):
            assert lines[number - 1].startswith("# "), f"{line} has no comment above it"


def test_the_example_shows_the_defaults(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    copied, default = load_settings(tmp_path), load_settings(tmp_path / "empty")
    for name, field in Settings.model_fields.items():
        if field.alias not in _DIFFERENT_ON_PURPOSE:
            assert getattr(copied, name) == getattr(default, name), field.alias


def test_the_environment_wins_over_env_and_that_over_config_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/.env").write_text("CALLBOARD_PORT=1\nCALLBOARD_HOST=config\nCALLBOARD_DEFAULT_AGENT=config\n")
    (tmp_path / ".env").write_text("CALLBOARD_PORT=2\nCALLBOARD_HOST=env\nREPORTING_DSN=x\n")
    monkeypatch.setenv("CALLBOARD_PORT", "3")
    settings = load_settings(tmp_path)
    assert (settings.port, settings.host, settings.default_agent) == (3, "env", "config")
    assert load_settings(tmp_path, port=4).port == 4


def test_dotenv_files_also_serve_variables_that_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("REPORTING_DSN=postgresql://x\nEMPTY=\n")
    assert dotenv_values(tmp_path) == {"REPORTING_DSN": "postgresql://x"}


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        load_settings(tmp_path).port = 1  # type: ignore[misc]  # which mypy says as well


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLBOARD_PORT", "eighty"),
        ("CALLBOARD_PORT", "70000"),
        ("CALLBOARD_LOG_LEVEL", "loud"),
        ("CALLBOARD_POOL_CONCURRENCY", "0"),
        ("CALLBOARD_LEASE_DEAD_SECONDS", "6"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError, match=name) as refused:
        load_settings(tmp_path)
    assert value not in refused.value.message.replace("CALLBOARD_LEASE_BEAT_SECONDS (5)", "").split("'")
    assert refused.value.field == name
    assert refused.value.__cause__ is None


def test_H6_a_secret_that_cannot_be_used_is_not_shown_by_the_error_itself() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"SLACK_BOT_TOKEN": ["xoxb-canary"]})
    assert "canary" not in str(refused.value)


def test_a_list_is_written_with_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_HTTP_ALLOW", "127.0.0.1:9000, localhost:80,")
    assert load_settings(tmp_path).http_allow == ("127.0.0.1:9000", "localhost:80")


def test_log_levels_may_be_small_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_LOG_LEVEL", "debug")
    assert load_settings(tmp_path).log_level == "DEBUG"


def test_H6_no_secret_is_shown_and_every_secret_is_known_to_the_redactor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_fields = [
        field.alias or "" for field in Settings.model_fields.values() if "SecretStr" in str(field.annotation)
    ]
    canaries = {alias: f"canary-{alias.lower()}" for alias in secret_fields}
    for alias in [alias for alias in canaries if alias.endswith("_URL")]:
        monkeypatch.setenv(alias, f"scheme://user:{canaries[alias]}@host/db")
    for alias in [alias for alias in canaries if not alias.endswith("_URL")]:
        monkeypatch.setenv(alias, canaries[alias])
    settings = load_settings(tmp_path)
    assert "canary" not in repr(settings)
    assert "canary" not in settings.model_dump_json()
    assert set(canaries.values()) <= set(secret_values(settings))
    assert len(canaries) >= 12


def test_H6_the_password_of_any_url_is_a_secret_decoded_too() -> None:
    settings = Settings(_env_file=None, openai_base_url="http://me:p%40ssw0rd@host/v1")
    assert "p@ssw0rd" in secret_values(settings)


def test_a_url_without_a_password_and_a_server_s_known_default_are_no_secrets() -> None:
    settings = Settings(
        _env_file=None,
        database_url=SecretStr("sqlite:///data/callboard.db"),
        rabbitmq_url=SecretStr("amqp://guest:guest@localhost/"),
    )
    assert secret_values(settings) == ()
