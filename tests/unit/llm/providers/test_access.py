"""What a provider lacks, where it is asked, and who may see its key."""

from __future__ import annotations

from functools import partial

import pytest

from callboard.llm.providers.access import ProviderAccess, key_for, ollama_url

OWN, SET = "https://api.openai.com/v1", "https://models.example.org/v1"


def test_what_is_missing_is_named_with_what_to_do() -> None:
    missing = ProviderAccess().missing()
    assert sorted(missing) == ["anthropic", "bedrock", "openai"]
    assert "OPENAI_API_KEY is not set" in missing["openai"]
    assert "ANTHROPIC_API_KEY is not set" in missing["anthropic"]
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set" in missing["bedrock"]
    assert all("environment" in reason for reason in missing.values())


def test_nothing_is_missing_where_keys_or_servers_of_one_s_own_are_set() -> None:
    aws = partial(ProviderAccess, aws_access_key_id="AKIA", aws_secret_access_key="s")
    assert aws(openai_api_key="k", anthropic_api_key="k", aws_region="eu-central-1").missing() == {}
    assert aws(openai_base_url="u", anthropic_base_url="u", aws_endpoint_url="u").missing() == {}
    assert "AWS_REGION" in aws().missing()["bedrock"]
    assert "bedrock" not in ProviderAccess(aws_elsewhere=True, aws_region="eu-central-1").missing()


def test_H6_keys_are_no_part_of_what_is_shown() -> None:
    shown = repr(ProviderAccess(openai_api_key="canary", aws_secret_access_key="canary", anthropic_api_key="canary"))
    assert "canary" not in shown


@pytest.mark.parametrize(
    ("written", "url", "shown"),
    [
        (None, SET, True),
        ("${env:MODELS}", "https://elsewhere.example.org/v1", True),
        ("${env:MODELS}/v1", "https://elsewhere.example.org/v1", True),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1", True),
        (SET, SET, True),
        ("https://models.example.org/other", "https://models.example.org/other", True),
        (OWN, OWN, True),
        ("https://evil.example.org/v1", "https://evil.example.org/v1", False),
        ("http://models.example.org/v1", "http://models.example.org/v1", False),
        ("https://models.example.org:444/v1", "https://models.example.org:444/v1", False),
        ("https://api.openai.com@evil.example.org/v1", "https://api.openai.com@evil.example.org/v1", False),
        ("${env:MODELS}.evil.example.org/v1", "https://models.evil.example.org/v1", False),
        ("${env:MODELS}@evil.example.org/v1", "https://models@evil.example.org/v1", False),
    ],
)
def test_H6_an_address_in_an_agent_file_is_no_way_to_the_owner_s_key(
    written: str | None, url: str, shown: bool
) -> None:
    assert key_for("canary", written=written, url=url, trusted_urls=(OWN, SET)) == ("canary" if shown else None)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),  # noqa: S104  # what Ollama listens on
        ("0.0.0.0:9000", "http://127.0.0.1:9000"),
        ("gpu.example.org", "http://gpu.example.org:11434"),
        ("http://gpu.example.org:1234/", "http://gpu.example.org:1234"),
        ("https://gpu.example.org/ollama/v1", "https://gpu.example.org/ollama"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434"),
        ("[::1]:11434", "http://[::1]:11434"),
    ],
)
def test_ollama_s_address_is_understood_as_ollama_understands_it(host: str | None, url: str) -> None:
    assert ollama_url(host) == url
