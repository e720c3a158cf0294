"""AWS Bedrock's Converse and ConverseStream, for the Claude and Llama families and whatever else speaks it.

botocore is a library of threads: each call holds one until it is answered. A cancelled call lets go of its thread,
which ends with the read timeout at the latest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio.to_thread
import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider as Wire

from callboard.llm.pricing import PriceTable
from callboard.llm.provider import LLMConfig, LLMProvider
from callboard.llm.providers.connections import CONNECT_SECONDS
from callboard.llm.providers.failures import Failures
from callboard.llm.providers.model_layer import ModelLayerProvider

CALLS_AT_ONCE = 250
"""Threads and connections of this process; the library's own limits are 40 and 10."""

KEY_HELP = "see that the AWS keys are right and that the account may use this model in AWS_REGION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose calls they are; without keys of its own, what botocore finds in the environment."""

    region: str
    endpoint_url: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)


class Clients:
    """One botocore client an account and time limit: making one takes a good part of a second."""

    def __init__(self) -> None:
        self._clients: dict[tuple[Account, float], Any] = {}
        self._loans: dict[tuple[Account, float], int] = {}

    def borrow(self, account: Account, timeout_seconds: float) -> Any:
        """Each borrower calls `give_back` once."""
        key = (account, timeout_seconds)
        if key not in self._clients:
            self._clients[key] = _client(account, timeout_seconds)
        self._loans[key] = self._loans.get(key, 0) + 1
        return self._clients[key]

    async def give_back(self, account: Account, timeout_seconds: float) -> None:
        key = (account, timeout_seconds)
        self._loans[key] -= 1
        if self._loans[key] == 0:
            self._clients.pop(key).close()


def make(config: LLMConfig, *, account: Account, prices: PriceTable, shared: Clients) -> LLMProvider:
    """A provider of Converse."""
    client = shared.borrow(account, config.timeout_seconds)
    secrets = (account.secret_access_key or "", account.session_token or "", account.access_key_id or "")
    return ModelLayerProvider(
        config,
        BedrockConverseModel(config.model_id, provider=Wire(bedrock_client=client)),
        prices=prices,
        failures=Failures("bedrock", config.model_id, key_help=KEY_HELP, secrets=secrets),
        close=partial(shared.give_back, account, config.timeout_seconds),
        ready=_allow_threads,
    )


async def _allow_threads() -> None:
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = max(limiter.total_tokens, CALLS_AT_ONCE)


def _client(account: Account, timeout_seconds: float) -> Any:
    session = boto3.Session(
        aws_access_key_id=account.access_key_id,
        aws_secret_access_key=account.secret_access_key,
        aws_session_token=account.session_token,
        region_name=account.region,
    )
    return session.client(
        "bedrock-runtime",
        endpoint_url=account.endpoint_url,
        config=Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=min(CONNECT_SECONDS, timeout_seconds),
            read_timeout=timeout_seconds,
            max_pool_connections=CALLS_AT_ONCE,
            # It would read an empty variable as an address.
            ignore_configured_endpoint_urls=True,
        ),
    )
