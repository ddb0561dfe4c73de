"""Connections to the real Cassandra underneath."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.scylla import frames
from tests.scylla.frames import Frame, Params, Value
from tests.scylla.words import Refused


def refusal(answer: Frame, more: str = "") -> Refused:
    """An ERROR as an exception."""
    body = frames.Body(answer.content)
    return Refused(body.int_(), body.string() + more)


@dataclass(frozen=True)
class Node:
    """The Cassandra node underneath: its address, how it encrypts, and its superuser's name and password."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    login: tuple[str, str] | None = None


class Backend:
    """One connection, on which any number of requests may be open."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pushed: Callable[[Frame], Awaitable[None]] | None,
    ) -> None:
        self._reader, self._writer, self._pushed = reader, writer, pushed
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._next = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, node: Node, pushed: Callable[[Frame], Awaitable[None]] | None = None) -> Backend:
        """A connection that no STARTUP was sent on; ``pushed`` takes the server's events."""
        named = {"server_hostname": node.host} if node.tls else {}
        return cls(*await asyncio.open_connection(node.host, node.port, ssl=node.tls, **named), pushed)

    @classmethod
    async def started(cls, node: Node) -> Backend:
        """A connection of the stand-in's own, ready for statements."""
        found = await cls.open(node)
        options = frames.short(1) + frames.string("CQL_VERSION") + frames.string("3.0.0")
        answer = await found.ask(frames.STARTUP, options)
        if answer.opcode == frames.AUTHENTICATE and node.login is not None:
            said = "\0{}\0{}".format(*node.login).encode()
            answer = await found.ask(frames.AUTH_RESPONSE, frames.int_(len(said)) + said)
        if answer.opcode == frames.ERROR:
            raise refusal(answer)
        return found

    async def ask(self, opcode: int, body: bytes, flags: int = 0) -> Frame:
        """Send a request; return its answer, which may be an ERROR."""
        self._next = (self._next + 1) % 32_000
        while self._next in self._waiting:
            self._next = (self._next + 1) % 32_000
        stream = self._next
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = answer
        self._writer.write(Frame(frames.VERSION, flags, stream, opcode, body).packed())
        await self._writer.drain()
        return await answer

    async def query(self, text: str, values: Sequence[Value] = ()) -> Frame:
        """Run a statement of the stand-in's own.

        Raises:
            Refused: Cassandra refuses it.
        """
        found = await self.ask(frames.QUERY, frames.query(text, Params(values=values)))
        if found.opcode == frames.ERROR:
            raise refusal(found, f" (the stand-in's own: {text})")
        return found

    async def rows(self, text: str, values: Sequence[Value] = ()) -> list[dict[str, Any]]:
        """The rows of a statement of the stand-in's own, as Python values."""
        return frames.decoded(await self.query(text, values))

    async def close(self) -> None:
        # Not by the farewell of TLS, for which nobody would wait.
        self._writer.transport.abort()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while True:
                frame = await frames.read_frame(self._reader)
                if frame.stream < 0:
                    if self._pushed is not None:
                        await self._pushed(frame)
                elif (waiting := self._waiting.pop(frame.stream, None)) is not None and not waiting.done():
                    waiting.set_result(frame)
        except (asyncio.IncompleteReadError, OSError):
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("Cassandra closed the connection"))
            self._waiting.clear()
