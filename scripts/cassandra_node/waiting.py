"""Conditions with a deadline, and ports that nobody uses."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterable

# Below the range of local ports for outgoing connections on Linux (32768 and up): such a connection could otherwise
# take a port between our check and the server's bind.
_PORTS = range(10_000, 32_000)
_PORT_TRIES_MAX = 200


def until(condition: Callable[[], bool], deadline_s: float, every_s: float = 0.1) -> bool:
    """Ask until ``condition`` holds or the deadline has passed; returns whether it held."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(every_s)
    return True


def is_free(port: int, hosts: Iterable[str]) -> bool:
    """Whether a server could listen on ``port`` at every one of ``hosts``."""
    for host in hosts:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
                listener.listen()
            except OSError:
                return False
    return True


def free_port(hosts: Iterable[str], *, besides: int | None = None) -> int:
    """A port other than ``besides`` that is free at every one of ``hosts``.

    Random, so that clusters started at the same time do not choose the same.
    """
    addresses = tuple(hosts)
    for port in random.sample(_PORTS, _PORT_TRIES_MAX):
        if port != besides and is_free(port, addresses):
            return port
    raise OSError(f"no free port at {', '.join(addresses)} in {_PORT_TRIES_MAX} tries")
