"""The delaying proxy passes everything on, in order, and counts turns."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.bench.delay_proxy import Turns, proxies
from tests.bench.processes import HOST


@contextmanager
def _echo() -> Iterator[int]:
    """Run a server that answers every line with itself, and closes on an empty one."""
    listener = socket.create_server((HOST, 0))

    def serve(peer: socket.socket) -> None:
        with peer, peer.makefile("rwb") as stream:
            for line in stream:
                if line == b"\n":
                    return
                stream.write(line)
                stream.flush()

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_turn_begins_when_the_client_sends_after_the_server_has_spoken() -> None:
    turns = Turns()
    turns.answer()  # a greeting
    for _ in range(3):
        turns.request()  # a request in three pieces
    turns.answer()
    turns.answer()  # an answer in two
    turns.request()
    assert turns.count == 2


@pytest.mark.parametrize("delay_s", [0.0, 0.001])
def test_requests_one_after_the_other_are_a_turn_each(delay_s: float) -> None:
    with _echo() as port, proxies(port, delay_s) as (proxy,):
        with socket.create_connection((HOST, proxy.port)) as client, client.makefile("rwb") as stream:
            for number in range(5):
                stream.write(b"%d\n" % number)
                stream.flush()
                assert stream.readline() == b"%d\n" % number
        assert proxy.turns == 5


@pytest.mark.parametrize("delay_s", [0.0, 0.001])
def test_a_pipeline_is_one_turn_and_arrives_whole_and_in_order(delay_s: float) -> None:
    lines = [b"%d\n" % number for number in range(100)]
    with _echo() as port, proxies(port, delay_s) as (proxy,):
        with socket.create_connection((HOST, proxy.port)) as client, client.makefile("rwb") as stream:
            stream.write(b"".join(lines))
            stream.flush()
            assert [stream.readline() for _ in lines] == lines
        assert proxy.turns == 1


def test_every_client_of_a_server_can_have_a_proxy_of_its_own() -> None:
    with _echo() as port, proxies(port, 0.001, 2) as (busy, idle):
        with socket.create_connection((HOST, busy.port)) as client, client.makefile("rwb") as stream:
            stream.write(b"x\n")
            stream.flush()
            assert stream.readline() == b"x\n"
        assert (busy.turns, idle.turns) == (1, 0)


def test_a_server_that_closes_closes_the_client_too() -> None:
    with (
        _echo() as port,
        proxies(port, 0.001) as (proxy,),
        socket.create_connection((HOST, proxy.port)) as client,
    ):
        client.settimeout(30)
        client.sendall(b"x\n\n")
        assert client.recv(10) == b"x\n"
        assert client.recv(10) == b""


def test_a_server_that_is_not_there_closes_the_client() -> None:
    with socket.create_server((HOST, 0)) as unused:
        port = unused.getsockname()[1]
    with proxies(port, 0.001) as (proxy,), socket.create_connection((HOST, proxy.port)) as client:
        client.settimeout(30)
        with suppress(ConnectionResetError):
            assert client.recv(10) == b""
