"""A mail server on 127.0.0.1 that keeps what it takes, and refuses or breaks off where a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class LocalMail:
    """`replies` maps a command's first word to what is answered instead of yes; "drop" closes, "hang" says nothing.

    "BODY" is the moment after the whole message has been read.
    """

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    messages: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 mail\r\n")
            while line := await reader.readline():
                command = line.decode().strip()
                self.commands.append(command)
                if not await self._answer(command, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, command: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        word = command.partition(" ")[0].upper()
        if word == "RCPT" and any(address in command for address in self.refused):
            return await self._say("550 no such person", writer)
        if word in self.replies:
            return await self._say(self.replies[word], writer, reader)
        if word == "DATA":
            writer.write(b"354 go on\r\n")
            message = await reader.readuntil(b"\r\n.\r\n")
            if "BODY" in self.replies:
                return await self._say(self.replies["BODY"], writer, reader)
            self.messages.append(message)
        yes = {"EHLO": "250-mail\r\n250 AUTH PLAIN LOGIN", "QUIT": "221 bye", "AUTH": "235 welcome"}
        return await self._say(yes.get(word, "250 ok"), writer) and word != "QUIT"

    async def _say(self, reply: str, writer: asyncio.StreamWriter, reader: asyncio.StreamReader | None = None) -> bool:
        if reply == "hang" and reader is not None:
            await reader.read()
        if reply in ("hang", "drop"):
            return False
        writer.write(f"{reply}\r\n".encode())
        await writer.drain()
        return True


@asynccontextmanager
async def local_mail() -> AsyncIterator[LocalMail]:
    mail = LocalMail()
    server = await asyncio.start_server(mail.serve, "127.0.0.1", 0)
    mail.port = server.sockets[0].getsockname()[1]
    async with server:
        yield mail
