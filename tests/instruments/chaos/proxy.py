"""A TCP proxy that misbehaves on demand: the network between two programs.

In: where to listen and where the other side is (a TCP port or a unix socket). Out: bytes, as the
chosen mode lets them through. It runs in a thread of its own; `set` may be called from any other.

    up          as if it were not there
    down        connections are refused, the open ones end
    reset       every connection is reset (RST), new ones too
    latency     every piece waits `amount` milliseconds
    slow        `amount` bytes a second
    half_open   connections are taken and nothing moves; when healed, what was held back arrives
    cut         a connection ends after `amount` bytes of answers (the request has arrived)
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Literal

Mode = Literal["up", "down", "reset", "latency", "slow", "half_open", "cut"]
PIECE = 65_536
RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends RST


class Connection:
    """Two sockets and the two pumps between them."""

    def __init__(self, proxy: "Proxy", near: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.near = near
        self.far: asyncio.StreamWriter | None = None
        self.answered = 0  # bytes, since the proxy's mode was set

    def end(self, *, reset: bool = False) -> None:
        for writer in (self.near, self.far):
            if writer is None:
                continue
            if reset:
                pipe = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):  # a unix socket, or gone already
                    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()
            else:
                writer.close()

    async def carry(self, reader: asyncio.StreamReader) -> None:
        """Both directions until one side ends."""
        there, self.far = await self.proxy.reach()
        pumps = [
            asyncio.ensure_future(self.pump(reader, self.far, is_answer=False)),
            asyncio.ensure_future(self.pump(there, self.near, is_answer=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        while piece := await reader.read(PIECE):
            await self.proxy.hold(len(piece))
            if is_answer and self.proxy.mode == "cut":
                piece = piece[: max(0, self.proxy.amount - self.answered)]
                self.answered += len(piece)
                if self.answered >= self.proxy.amount:
                    writer.write(piece)
                    await writer.drain()
                    return
            writer.write(piece)
            await writer.drain()


class Proxy:
    """One listening port before one server."""

    def __init__(self, target: int | str, port: int = 0) -> None:
        """`target`: a port on loopback, or the path of a unix socket."""
        self.target = target
        self.port = port
        self.mode: Mode = "up"
        self.amount = 0
        self._healed = asyncio.Event()
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._wait(self._listen())

    def set(self, mode: Mode, amount: int = 0) -> None:
        """Change the mode; returns when it holds."""
        self._wait(self._set(mode, amount))

    def stop(self) -> None:
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    # --- in the loop -----------------------------------------------------------------------

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _set(self, mode: Mode, amount: int) -> None:
        self._healed.set()  # whoever is held looks at the new mode
        self._healed = asyncio.Event()
        self.mode, self.amount = mode, amount
        for connection in tuple(self._open):
            connection.answered = 0
            if mode in ("down", "reset"):
                connection.end(reset=mode == "reset")
        if mode == "down" and self._server:
            self._server.close()
            self._server = None
        elif mode != "down" and self._server is None:
            await self._listen()

    async def _end(self) -> None:
        await self._set("down", 0)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(self, near)
        self._open.add(connection)
        try:
            if self.mode == "reset":
                connection.end(reset=True)
            else:
                await connection.carry(reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side is gone, which is what a network does
        finally:
            connection.end()
            self._open.discard(connection)
            self._tasks.discard(task)

    async def reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, int):
            return await asyncio.open_connection("127.0.0.1", self.target)
        return await asyncio.open_unix_connection(self.target)

    async def hold(self, size: int) -> None:
        """Keep a piece of so many bytes for as long as the mode says."""
        while self.mode == "half_open":
            await self._healed.wait()
        if self.mode == "latency":
            await asyncio.sleep(self.amount / 1000)
        elif self.mode == "slow":
            await asyncio.sleep(size / self.amount)
