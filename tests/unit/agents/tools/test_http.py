"""What agents read from the web and send to it, against a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import subprocess
from pathlib import Path

import pytest
from pydantic import JsonValue

from callboard.agents.tools.http import HttpTools
from callboard.agents.tools.registry import ToolBinding, ToolOptions, ToolRegistry
from callboard.agents.tools.resolver import Resolver
from callboard.agents.tools.safe_url import UnsafeUrlError
from callboard.agents.tools.tool import NoArtifacts, Tool, ToolContext, ToolError
from callboard.errors import InvalidInputError
from callboard.logs import bind_trace
from tests.unit.agents.tools.local_web import LocalWeb, Names, local_web, page, redirect

CONTEXT = ToolContext(run_id="r", agent="a", idempotency_key="k" * 32, artifacts=NoArtifacts())


def tool(name: str, *permitted: str, resolver: Resolver | None = None, options: ToolOptions | None = None) -> Tool:
    tools = HttpTools(resolver or Names(), permitted=frozenset(permitted))
    made = ToolRegistry(tools.factories()).build([ToolBinding(name=name, options=options or {})]).get(name)
    assert made is not None
    return made


async def get(web: LocalWeb, path: str, **options: JsonValue) -> str:
    return await tool("http_get", web.authority, options=options).call({"url": web.url(path)}, CONTEXT)


async def post(web: LocalWeb, path: str, body: JsonValue, **options: JsonValue) -> str:
    return await tool("http_post", web.authority, options=options).call({"url": web.url(path), "body": body}, CONTEXT)


async def test_a_page_is_read_as_text_with_the_trace_in_the_request() -> None:
    async with local_web() as web:
        web.pages["/a?b=c"] = page("grüß dich".encode("latin-1"), kind="text/html; charset=latin-1")
        with bind_trace("4bf92f3577b34da6a3ce929d0e0e4736"):
            assert await get(web, "/a?b=c") == "grüß dich"
        request = web.seen[0]
        assert request.headers["host"] == web.authority
        assert request.headers["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")


async def test_what_is_sent_carries_the_key_of_its_effect() -> None:
    async with local_web() as web:
        assert await post(web, "/hook", {"text": "hi"}) == "/hook"
        assert await post(web, "/hook", "plain") == "/hook"
        first, second = web.seen
        assert first.method == "POST"
        assert first.headers["idempotency-key"] == CONTEXT.idempotency_key
        assert (first.headers["content-type"], json.loads(first.body)) == ("application/json", {"text": "hi"})
        assert (second.headers["content-type"], second.body) == ("text/plain; charset=utf-8", b"plain")


async def test_H3_a_server_on_this_machine_is_refused_unless_it_is_permitted() -> None:
    async with local_web() as web:
        for url in (f"https://127.0.0.1:{web.port}/", f"https://[::ffff:127.0.0.1]:{web.port}/"):
            with pytest.raises(UnsafeUrlError):
                await tool("http_get").call({"url": url}, CONTEXT)
            with pytest.raises(UnsafeUrlError):
                await tool("http_post").call({"url": url, "body": ""}, CONTEXT)
        assert web.connections == 0


async def test_H3_a_name_that_leads_to_a_private_address_is_refused_before_any_connection() -> None:
    async with local_web() as web:
        names = Names(inside_example=[["127.0.0.1"]], mixed_example=[["93.184.215.14", "127.0.0.1"]])
        for host in ("inside.example", "mixed.example"):
            with pytest.raises(UnsafeUrlError, match=f"{host} is not a public address"):
                await tool("http_get", resolver=names).call({"url": f"https://{host}:{web.port}/"}, CONTEXT)
        assert web.connections == 0


async def test_H3_a_name_is_looked_up_once_so_that_a_second_answer_cannot_rebind_it() -> None:
    async with local_web() as web:
        names = Names(turn_example=[["127.0.0.1"], ["169.254.169.254"]])
        reader = tool("http_get", f"turn.example:{web.port}", resolver=names)
        assert await reader.call({"url": f"http://turn.example:{web.port}/x"}, CONTEXT) == "/x"
        assert names.asked == ["turn.example"]
        assert web.seen[0].headers["host"] == f"turn.example:{web.port}"


@pytest.mark.parametrize(
    "location",
    [
        "https://169.254.169.254/latest/meta-data/",
        "https://inside.example/",
        "http://example.com/",
        "file:///etc/passwd",
        "//user@127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
    ],
)
async def test_H3_a_redirect_is_checked_like_a_url_of_its_own(location: str) -> None:
    async with local_web() as web:
        web.pages["/go"] = redirect(location)
        reader = tool("http_get", web.authority, resolver=Names(inside_example=[["10.0.0.1"]]))
        with pytest.raises(UnsafeUrlError):
            await reader.call({"url": web.url("/go")}, CONTEXT)
        assert [seen.path for seen in web.seen] == ["/go"]


async def test_redirects_are_followed_within_bounds() -> None:
    async with local_web() as web:
        web.pages |= {"/1": redirect("/2"), "/2": redirect(web.url("/3"), "307 Temporary"), "/for-ever": redirect("#")}
        assert await get(web, "/1") == "/3"
        with pytest.raises(ToolError, match="more than 5 redirects"):
            await get(web, "/for-ever")


async def test_H3_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_web() as web, local_web() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert await get(web, "/direct") == "/direct"
        assert proxy.connections == 0


async def test_configured_headers_go_to_their_host_only() -> None:
    async with local_web() as web, local_web() as other:
        web.pages["/away"] = redirect(other.url("/caught"))
        reader = HttpTools(Names(), permitted=frozenset({web.authority, other.authority})).factories()["http_get"](
            {"allow": ["127.0.0.1"], "headers": {"Authorization": "Bearer canary"}}
        )
        assert await reader.call({"url": web.url("/away")}, CONTEXT) == "/caught"
        assert web.seen[0].headers["authorization"] == "Bearer canary"
        assert "authorization" not in other.seen[0].headers


async def test_a_post_follows_no_redirect_and_tells_where_it_points() -> None:
    async with local_web() as web:
        web.pages["/hook"] = redirect("/elsewhere", "303 See Other")
        assert await post(web, "/hook", "x") == "[HTTP status 303, points to /elsewhere; not followed]"
        assert len(web.seen) == 1


@pytest.mark.parametrize(
    ("answer", "unknown"),
    [
        (page("no", status="404 Not Found"), False),
        (page("wait", status="429 Too Many"), False),
        (page("oops", status="500 Oops"), True),
        (page("no such thing", status="501 Not Implemented"), False),
        (b"drop", True),
        (b"nonsense\r\n\r\n", True),
        (b"hang", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", True),
    ],
)
async def test_C8_a_post_says_whether_it_may_have_happened(answer: bytes, unknown: bool) -> None:
    async with local_web() as web:
        web.pages["/hook"] = answer
        with pytest.raises(ToolError) as caught:
            await post(web, "/hook", "x", timeout_seconds=0.3 if answer == b"hang" else 30.0)
        assert caught.value.outcome_unknown is unknown


async def test_a_post_that_reached_nobody_certainly_did_not_happen() -> None:
    async with local_web() as web:
        authority = web.authority
    sender = tool("http_post", authority)
    with pytest.raises(ToolError, match="cannot be reached") as caught:
        await sender.call({"url": f"http://{authority}/", "body": ""}, CONTEXT)
    assert not caught.value.outcome_unknown
    with pytest.raises(ToolError, match="cannot be found") as caught:
        await sender.call({"url": "https://nowhere.example/", "body": ""}, CONTEXT)
    assert not caught.value.outcome_unknown


async def test_an_error_page_is_an_error_with_its_beginning() -> None:
    async with local_web() as web:
        web.pages["/x"] = page("no such page" + "!" * 9000, status="404 Not Found")
        with pytest.raises(ToolError, match=r"^HTTP status 404: no such page!") as caught:
            await get(web, "/x")
        assert len(caught.value.message) < 600


async def test_a_server_that_never_ends_is_left_within_the_time_limit() -> None:
    async with local_web() as web:
        web.pages["/hang"] = b"hang"
        with pytest.raises(ToolError, match=r"no complete answer within 0\.1 s"):
            await get(web, "/hang", timeout_seconds=0.1)


async def test_only_the_beginning_of_an_endless_body_is_read() -> None:
    async with local_web() as web:
        web.pages["/big"] = page("x" * 3_000_000)
        text = await get(web, "/big", max_bytes=1000)
        assert text == "x" * 1000 + "\n[cut: only the first 1000 bytes were read]"


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    async with local_web() as web:
        web.pages["/zip"] = page(gzip.compress(b"0" * 5_000_000), extra="Content-Encoding: gzip\r\n")
        assert await get(web, "/zip") == "[compressed, though it was asked not to be]"
        assert web.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (page(b"\x89PNG", kind="image/png"), "[image/png: not text]"),
        (page("", status="204 No Content"), "[HTTP status 204, empty]"),
        (page(b"\xff\xfe bytes", kind="text/plain; charset=utf-8"), "\ufffd\ufffd bytes"),
        (page("a", kind="text/plain; charset=unicode_escape"), "a"),
        (page("a", kind="text/plain; charset=no-such"), "a"),
        (page('{"a":1}', kind="application/problem+json"), '{"a":1}'),
    ],
)
async def test_a_body_of_any_kind_becomes_text(answer: bytes, text: str) -> None:
    async with local_web() as web:
        web.pages["/x"] = answer
        assert await get(web, "/x") == text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alow": ["x"]}, "with.alow"),
        ({"headers": {"Authorization": "x"}}, "headers need allow"),
        ({"allow": ["x"], "headers": {"Host": "x"}}, "'Host' cannot be set"),
        ({"allow": ["x"], "headers": {"A": "canary\r\nB: c"}}, "header 'A' must be printable"),
        ({"timeout_seconds": 0}, "with.timeout_seconds"),
        ({"max_bytes": 10_000_000}, "with.max_bytes"),
    ],
)
def test_options_that_cannot_be_kept_are_refused_by_name(options: dict[str, JsonValue], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        tool("http_get", options=options)
    assert "canary" not in caught.value.message


def test_an_unknown_tool_is_refused_with_the_nearest_name() -> None:
    registry = ToolRegistry(HttpTools(Names()).factories())
    with pytest.raises(InvalidInputError, match=r"unknown tool 'http_gett' .did you mean 'http_get'."):
        registry.build([ToolBinding(name="http_gett")])
    with pytest.raises(InvalidInputError, match="listed twice"):
        registry.build([ToolBinding(name="http_get"), ToolBinding(name="http_get")])


@pytest.mark.slow
async def test_H3_the_certificate_is_checked_for_the_name_though_the_address_is_connected_to(tmp_path: Path) -> None:
    certificate, key = tmp_path / "shop.pem", tmp_path / "shop.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=shop.example"]
    command += ["-addext", "subjectAltName=DNS:shop.example"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(certificate, key)
    async with local_web(server_tls) as web:
        permitted = frozenset({f"shop.example:{web.port}", f"other.example:{web.port}"})
        names = Names(shop_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
        tools = HttpTools(names, permitted=permitted, tls=ssl.create_default_context(cafile=str(certificate)))
        reader = tools.factories()["http_get"]({})
        assert await reader.call({"url": f"https://shop.example:{web.port}/x"}, CONTEXT) == "/x"
        with pytest.raises(ToolError, match="certificate is not valid for that name"):
            await reader.call({"url": f"https://other.example:{web.port}/x"}, CONTEXT)
        assert len(web.seen) == 1
