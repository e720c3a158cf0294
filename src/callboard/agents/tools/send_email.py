"""`send_email`: one message through the SMTP server of the installation."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from callboard.agents.tools.registry import ToolFactory, ToolOptions
from callboard.agents.tools.tool import Tool, ToolContext, ToolError, ToolTraits
from callboard.agents.tools.tool_options import read_options
from callboard.errors import InvalidInputError

MAX_RECIPIENTS = 10
_SECONDS = 30.0
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in. `tls`: `implicit` from the first byte, `starttls` (refused without it), or `none`,
    which only a server on this machine may have."""

    host: str
    port: int
    sender: str
    tls: str = "starttls"
    user: str | None = None
    password: str | None = None


def mail_server(url: str, sender: str) -> MailServer:
    """From `smtp://USER:PASSWORD@HOST:PORT` or `smtps://…`; raises InvalidInputError without naming the password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if host is None or parts.scheme not in ("smtp", "smtps"):
        raise InvalidInputError(
            "CALLBOARD_SMTP_URL is no address of a mail server: write smtp://USER:PASSWORD@HOST:587 or smtps://…:465",
            code="invalid_settings",
        )
    if not _ADDRESS.fullmatch(sender):
        raise InvalidInputError(
            f"CALLBOARD_SMTP_FROM {sender!r} is no e-mail address: write name@example.com", code="invalid_settings"
        )
    plain = "none" if host in ("127.0.0.1", "localhost", "::1") else "starttls"
    return MailServer(
        host=host,
        port=port or (465 if parts.scheme == "smtps" else 587),
        sender=sender,
        tls="implicit" if parts.scheme == "smtps" else plain,
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


class SendEmailOptions(BaseModel):
    """`allow` is all whom the agent may write to: addresses, or `@example.com` for everybody there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: tuple[str, ...] = Field(min_length=1, max_length=200)


class MailTools:
    """Makes the tool for any agent; without a server it is there and says what is missing."""

    def __init__(self, server: MailServer | None) -> None:
        self._server = server

    def factories(self) -> dict[str, ToolFactory]:
        """By tool name, for the registry."""
        return {"send_email": self._make}

    def _make(self, options: ToolOptions) -> Tool:
        if self._server is None:
            raise InvalidInputError(
                "send_email needs a mail server: set CALLBOARD_SMTP_URL and CALLBOARD_SMTP_FROM in the environment",
                field="tools",
            )
        return SendEmail(self._server, read_options("send_email", SendEmailOptions, options))


class SendEmail:
    """Hands one plain-text message in. The Message-ID is the same for every repetition of one call."""

    name = "send_email"
    description = "Send an e-mail as plain text. Only certain recipients are allowed."
    parameters: Mapping[str, JsonValue] = {
        "type": "object",
        "properties": {
            "to": {
                "type": "array",
                "items": {"type": "string", "maxLength": 320},
                "minItems": 1,
                "maxItems": MAX_RECIPIENTS,
            },
            "subject": {"type": "string", "minLength": 1, "maxLength": 200},
            "body": {"type": "string", "minLength": 1, "maxLength": 100_000},
        },
        "required": ["to", "subject", "body"],
        "additionalProperties": False,
    }
    idempotent = False
    timeout_seconds = _SECONDS + 2.0
    traits = ToolTraits(sends_out=True)

    def __init__(self, server: MailServer, options: SendEmailOptions) -> None:
        self._server = server
        self._allow = tuple(entry.lower() for entry in options.allow)

    async def call(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> str:
        to = arguments["to"]
        recipients = [str(address) for address in to] if isinstance(to, list) else []
        self._check(recipients)
        message = email_message(
            self._server.sender,
            recipients,
            subject=str(arguments["subject"]),
            body=str(arguments["body"]),
            key=context.idempotency_key,
        )
        try:
            async with asyncio.timeout(_SECONDS):
                refused = await _hand_in(self._server, message, recipients)
        except TimeoutError:
            raise ToolError(f"the mail server did not answer within {_SECONDS:g} s", outcome_unknown=True) from None
        sent = f"sent to {', '.join(address for address in recipients if address not in refused)}"
        return sent if not refused else f"{sent}; refused by the server: {', '.join(sorted(refused))}"

    def _check(self, recipients: list[str]) -> None:
        for address in recipients:
            if not _ADDRESS.fullmatch(address):
                raise ToolError(f"{address!r} is no plain e-mail address: write name@example.com, nothing was sent")
            domain = "@" + address.lower().rpartition("@")[2]
            if address.lower() not in self._allow and domain not in self._allow:
                raise ToolError(f"{address} is not on this agent's list of recipients; nothing was sent")


def email_message(sender: str, recipients: list[str], *, subject: str, body: str, key: str) -> EmailMessage:
    """The message as it is handed in; whatever the subject holds, it stays one header."""
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(addr_spec=sender)
    message["To"] = [Address(addr_spec=address) for address in recipients]
    message["Subject"] = " ".join(subject.split())
    message["Message-ID"] = f"<{key}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body.encode("utf-8", "replace").decode())
    return message


async def _hand_in(server: MailServer, message: EmailMessage, recipients: list[str]) -> set[str]:
    """The recipients that the server refused while it took the message for others.

    Raises ToolError; `outcome_unknown` from the moment on that the message itself was under way.
    """
    import aiosmtplib  # only an agent that sends mail needs it

    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.tls == "implicit",
        start_tls=server.tls == "starttls",
        tls_context=None if server.tls == "none" else ssl.create_default_context(),
        timeout=_SECONDS,
    )
    place = f"the mail server {server.host}:{server.port}"
    try:
        await client.connect()
        if server.user is not None:
            await client.login(server.user, server.password or "")
    except aiosmtplib.SMTPAuthenticationError:
        client.close()
        raise ToolError(f"{place} refused the user name or password of CALLBOARD_SMTP_URL; nothing was sent") from None
    except (aiosmtplib.SMTPException, OSError) as error:
        client.close()
        raise ToolError(f"{place} cannot be used ({type(error).__name__}); nothing was sent") from None
    try:
        refused, _ = await client.send_message(message, sender=server.sender, recipients=recipients)
    except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientsRefused) as error:
        raise ToolError(f"{place} refused the message: {_words(error)}; nothing was sent") from None
    except aiosmtplib.SMTPResponseException as error:
        # An answer with a number: 4xx and 5xx mean that the server did not take it.
        raise ToolError(f"{place} refused the message: {error.code} {_words(error)}; nothing was sent") from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise ToolError(f"{place} broke off ({type(error).__name__})", outcome_unknown=True) from None
    finally:
        client.close()
    return set(refused)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
