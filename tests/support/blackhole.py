"""A proxy to a server on this machine whose host can vanish: nothing goes through any more, and no connection ends."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Blackhole:
    """Forwards connections to a port until ``vanish``; ``come_back`` forwards new ones, and the old ones stay dead."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._generation = 0
        self._is_gone = False
        self._sockets: list[socket.socket] = []
        self.opened = 0
        """Connections that were forwarded; the number of one is how many there were with it."""
        self.ended_by_server = 0
        """Connections that the server gave up after the host had vanished."""
        self.ended: set[int] = set()
        """Numbers of the other connections that ended, whoever ended them."""
        threading.Thread(target=self._accept, daemon=True).start()

    def vanish(self) -> None:
        """Let everything that is open stay open, and silent."""
        self._is_gone = True
        self._generation += 1

    def come_back(self) -> None:
        """Forward what is opened from now on."""
        self._is_gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.close()
        for each in self._sockets:
            with suppress(OSError):
                each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            if self._is_gone:
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._sockets.append(server)
            self.opened += 1
            for source, target, is_server in ((client, server, False), (server, client, True)):
                threading.Thread(
                    target=self._pump,
                    args=(source, target, self._generation),
                    kwargs={"is_server": is_server, "number": self.opened},
                    daemon=True,
                ).start()

    def _pump(
        self, source: socket.socket, target: socket.socket, generation: int, *, is_server: bool, number: int
    ) -> None:
        with suppress(OSError):  # reset, or closed by us
            while data := source.recv(65536):
                if generation == self._generation:
                    target.sendall(data)
        if generation != self._generation:
            self.ended_by_server += is_server
            return  # the other end is not told
        self.ended.add(number)
        with suppress(OSError):
            target.close()
