"""Everything that the environment can set, read once at the start (INTERFACE.md, section 5; DESIGN.md, R40).

Only the composition root sees the whole; every part is given the values it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, SettingsConfigDict

from callboard.errors import InvalidInputError

ENV_FILES = (Path("config/.env"), Path(".env"))
"""Later ones win; the environment itself wins over both."""

_Names = Annotated[tuple[str, ...], NoDecode]
_Level = Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")]
_Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """The settings of one process; secrets show themselves only to who asks for them by `get_secret_value`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True, populate_by_name=True
    )

    database_url: SecretStr | None = Field(default=None, alias="DATABASE_URL")
    redis_url: SecretStr | None = Field(default=None, alias="REDIS_URL")
    rabbitmq_url: SecretStr | None = Field(default=None, alias="RABBITMQ_URL")

    slack_signing_secret: SecretStr | None = Field(default=None, alias="SLACK_SIGNING_SECRET")
    slack_bot_token: SecretStr | None = Field(default=None, alias="SLACK_BOT_TOKEN")
    slack_app_token: SecretStr | None = Field(default=None, alias="SLACK_APP_TOKEN")
    slack_api_url: str = Field(default="https://slack.com/api/", alias="SLACK_API_URL")

    openai_api_key: SecretStr | None = Field(default=None, alias="OPENAI_API_KEY")
    openai_base_url: str | None = Field(default=None, alias="OPENAI_BASE_URL")
    anthropic_api_key: SecretStr | None = Field(default=None, alias="ANTHROPIC_API_KEY")
    anthropic_base_url: str | None = Field(default=None, alias="ANTHROPIC_BASE_URL")
    aws_access_key_id: SecretStr | None = Field(default=None, alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(default=None, alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: SecretStr | None = Field(default=None, alias="AWS_SESSION_TOKEN")
    aws_region: str | None = Field(default=None, alias="AWS_REGION")
    aws_endpoint_url_bedrock_runtime: str | None = Field(default=None, alias="AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
    ollama_host: str | None = Field(default=None, alias="OLLAMA_HOST")

    api_url: str = Field(default="http://127.0.0.1:8080", alias="CALLBOARD_API_URL")
    api_token: SecretStr | None = Field(default=None, alias="CALLBOARD_API_TOKEN")
    host: str = Field(default="127.0.0.1", alias="CALLBOARD_HOST")
    port: _Port = Field(default=8080, alias="CALLBOARD_PORT")
    health_port: _Port = Field(default=8081, alias="CALLBOARD_HEALTH_PORT")

    models_file: Path = Field(default=Path("config/models.yaml"), alias="CALLBOARD_MODELS")
    agents_folder: Path = Field(default=Path("config/agents"), alias="CALLBOARD_AGENTS")
    tools_folder: Path = Field(default=Path("tools"), alias="CALLBOARD_TOOLS")
    data_folder: Path = Field(default=Path("data"), alias="CALLBOARD_DATA")
    log_folder: Path = Field(default=Path("logs"), alias="CALLBOARD_LOGS")
    log_level: _Level = Field(default="INFO", alias="CALLBOARD_LOG_LEVEL")
    default_agent: str | None = Field(default=None, alias="CALLBOARD_DEFAULT_AGENT")
    http_allow: _Names = Field(default=(), alias="CALLBOARD_HTTP_ALLOW")
    smtp_url: SecretStr | None = Field(default=None, alias="CALLBOARD_SMTP_URL")
    smtp_from: str | None = Field(default=None, alias="CALLBOARD_SMTP_FROM")
    mcp_commands: _Names = Field(default=(), alias="CALLBOARD_MCP_COMMANDS")

    inbox_queue_type: Literal["quorum", "classic"] = Field(default="quorum", alias="CALLBOARD_INBOX_QUEUE_TYPE")
    database_pool: int = Field(default=10, ge=2, le=200, alias="CALLBOARD_DATABASE_POOL")
    celery_concurrency: int = Field(default=2, ge=1, le=100, alias="CALLBOARD_CELERY_CONCURRENCY")
    retention_days: float = Field(default=30, gt=0, alias="CALLBOARD_RETENTION_DAYS")

    pool_concurrency: int = Field(default=200, ge=1, le=10_000, alias="CALLBOARD_POOL_CONCURRENCY")
    streamed_runs: int = Field(default=20, ge=0, le=1000, alias="CALLBOARD_STREAMED_RUNS")
    max_deliveries: int = Field(default=5, ge=1, le=100, alias="CALLBOARD_MAX_DELIVERIES")
    lease_beat_seconds: float = Field(default=5.0, gt=0, alias="CALLBOARD_LEASE_BEAT_SECONDS")
    lease_dead_seconds: float = Field(default=20.0, gt=0, alias="CALLBOARD_LEASE_DEAD_SECONDS")
    patience_seconds: float = Field(default=3600.0, gt=0, alias="CALLBOARD_PATIENCE_SECONDS")
    drain_seconds: float = Field(default=30.0, ge=0, alias="CALLBOARD_DRAIN_SECONDS")

    @field_validator("http_allow", "mcp_commands", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("lease_dead_seconds")
    @classmethod
    def _longer_than_two_beats(cls, value: float, info: Any) -> float:
        beat = info.data.get("lease_beat_seconds")
        if beat is not None and value < 2 * beat:
            raise ValueError(f"must be at least twice CALLBOARD_LEASE_BEAT_SECONDS ({beat:g})")
        return value


def load_settings(folder: Path | None = None, **overrides: Any) -> Settings:
    """Settings from the environment, else `folder/.env`, else `folder/config/.env` (None: the present folder).

    `overrides`, by field name, win over all (options of the command line). An InvalidInputError names each variable
    that cannot be used and why, and never its value.
    """
    files = tuple((folder or Path()) / file for file in ENV_FILES)
    aliases = {name: field.alias or name for name, field in Settings.model_fields.items()}
    given = {aliases[name]: value for name, value in overrides.items()}
    try:
        return Settings(_env_file=files, **given)
    except ValidationError as error:
        problems = [f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors(include_input=False)]
        raise InvalidInputError(
            f"the environment (or .env) cannot be used: {'; '.join(problems)} (.env.example explains each)",
            code="invalid_settings",
            field=str(error.errors(include_input=False)[0]["loc"][0]),
        ) from None


def dotenv_values(folder: Path | None = None) -> dict[str, str]:
    """What the two `.env` files set, every variable of them; for `${env:NAME}` beside the environment itself."""
    files = tuple((folder or Path()) / file for file in ENV_FILES)
    source = DotEnvSettingsSource(Settings, env_file=files, case_sensitive=True)
    return {name: value for name, value in source.env_vars.items() if value}


def text_of(secret: SecretStr | None) -> str | None:
    """What a secret hides, None for one that is not set."""
    return None if secret is None else secret.get_secret_value()


def secret_values(settings: Settings) -> tuple[str, ...]:
    """Every secret in the settings, and the password of every URL in them: what must not be seen in logs."""
    found: list[str] = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            continue
        password = _password_of(text)
        if password is not None:
            found += [text, password]
        elif isinstance(value, SecretStr) and "://" not in text:
            found.append(text)
    return tuple(dict.fromkeys(found))


def _password_of(text: str) -> str | None:
    """The password in a URL; the known default of a local server (guest:guest) is no secret and a common word."""
    try:
        parts = urlsplit(text)
        user, password = parts.username, parts.password
    except ValueError:
        return None
    if not parts.scheme or password is None or password == user:
        return None
    return unquote(password)
