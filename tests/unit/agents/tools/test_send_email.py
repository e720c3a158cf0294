"""Mail that agents send, handed in at a real server."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest
from pydantic import JsonValue

from callboard.agents.tools.registry import ToolBinding, ToolRegistry
from callboard.agents.tools.send_email import MailServer, MailTools, mail_server
from callboard.agents.tools.tool import NoArtifacts, Tool, ToolContext, ToolError
from callboard.errors import InvalidInputError
from tests.unit.agents.tools.local_mail import LocalMail, local_mail

CONTEXT = ToolContext(run_id="r", agent="a", idempotency_key="k" * 32, artifacts=NoArtifacts())
FROM = "callboard@example.com"
MAIL: dict[str, JsonValue] = {"to": ["ada@example.com"], "subject": "Report", "body": "All is well.\n.\nEnd ✓"}


def tool(server: MailServer | None, *allow: str) -> Tool:
    binding = ToolBinding(name="send_email", options={"allow": list(allow or ("@example.com",))})
    made = ToolRegistry(MailTools(server).factories()).build([binding]).get("send_email")
    assert made is not None
    return made


def at(mail: LocalMail, user: str = "") -> MailServer:
    return mail_server(f"smtp://{user}127.0.0.1:{mail.port}", FROM)


async def test_a_message_arrives_as_it_was_written() -> None:
    async with local_mail() as mail:
        assert await tool(at(mail)).call(MAIL, CONTEXT) == "sent to ada@example.com"
        (raw,) = mail.messages
        message = message_from_bytes(raw.removesuffix(b".\r\n"), policy=policy.default)
        assert (message["From"], message["To"], message["Subject"]) == (FROM, "ada@example.com", "Report")
        assert message["Message-ID"] == f"<{CONTEXT.idempotency_key}@example.com>"
        body = message.get_content().replace("\r\n", "\n")
        assert body.replace("\n..\n", "\n.\n").strip() == MAIL["body"]


async def test_a_subject_with_line_breaks_stays_one_header() -> None:
    async with local_mail() as mail:
        await tool(at(mail)).call({**MAIL, "subject": "Hi\r\nBcc: eve@example.org\n\nx"}, CONTEXT)
        message = message_from_bytes(mail.messages[0], policy=policy.default)
        assert message["Bcc"] is None
        assert message["Subject"] == "Hi Bcc: eve@example.org x"


async def test_the_server_is_told_who_it_is() -> None:
    async with local_mail() as mail:
        await tool(at(mail, "me:p%40ss@")).call(MAIL, CONTEXT)
        assert any(command.startswith("AUTH") for command in mail.commands)


@pytest.mark.parametrize(
    "address",
    [
        "eve@example.org",
        "ada@example.com.evil.org",
        "ada@example.com\r\nRCPT TO:<eve@example.org>",
        "Ada <ada@example.com>",
        "ada@example.com,eve@example.org",
        '"x y"@example.com',
        "@example.com",
        "",
    ],
)
async def test_nobody_else_gets_mail(address: str) -> None:
    async with local_mail() as mail:
        with pytest.raises(ToolError, match="nothing was sent") as error:
            await tool(at(mail)).call({**MAIL, "to": ["ada@example.com", address]}, CONTEXT)
        assert mail.commands == []
        assert not error.value.outcome_unknown


@pytest.mark.parametrize(
    ("word", "reply"),
    [
        ("MAIL", "550 not you"),
        ("RCPT", "450 later"),
        ("DATA", "554 no"),
        ("BODY", "554 this is spam"),
        ("BODY", "451 try later"),
        ("EHLO", "drop"),
        ("AUTH", "535 wrong password"),
    ],
)
async def test_a_server_that_refuses_has_sent_nothing_and_is_quoted(word: str, reply: str) -> None:
    async with local_mail() as mail:
        mail.replies[word] = reply
        with pytest.raises(ToolError, match="nothing was sent") as error:
            await tool(at(mail, "me:geheim123@")).call(MAIL, CONTEXT)
        assert not error.value.outcome_unknown
        assert "geheim123" not in error.value.message
        assert mail.messages == []


async def test_a_server_that_breaks_off_after_the_message_leaves_it_unknown() -> None:
    async with local_mail() as mail:
        mail.replies["BODY"] = "drop"
        with pytest.raises(ToolError, match="broke off") as error:
            await tool(at(mail)).call(MAIL, CONTEXT)
        assert error.value.outcome_unknown


async def test_a_server_that_is_not_there_is_told() -> None:
    async with local_mail() as mail:
        server = at(mail)
    with pytest.raises(ToolError, match="nothing was sent") as error:
        await tool(server).call(MAIL, CONTEXT)
    assert not error.value.outcome_unknown


async def test_who_was_refused_among_several_is_told() -> None:
    async with local_mail() as mail:
        mail.refused.add("gone@example.com")
        said = await tool(at(mail)).call({**MAIL, "to": ["ada@example.com", "gone@example.com"]}, CONTEXT)
        assert said == "sent to ada@example.com; refused by the server: gone@example.com"


def test_without_a_server_the_agent_says_what_is_missing() -> None:
    with pytest.raises(InvalidInputError, match="CALLBOARD_SMTP_URL"):
        tool(None)


def test_only_this_machine_may_go_without_encryption() -> None:
    assert mail_server("smtp://mail.example.com", FROM).tls == "starttls"
    assert mail_server("smtps://mail.example.com", FROM).port == 465
    assert mail_server("smtp://127.0.0.1:25", FROM).tls == "none"


@pytest.mark.parametrize("url", ["http://mail", "smtp://", "mail.example.com", "smtp://u:geheim@h:port"])
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidInputError, match="CALLBOARD_SMTP_URL") as error:
        mail_server(url, FROM)
    assert "geheim" not in error.value.message
