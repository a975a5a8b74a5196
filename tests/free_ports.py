"""Ports for tests that serve something: found below the kernel's range for outgoing connections, where nothing else lands."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable

# Linux hands out 32768 to 60999 to outgoing connections: a port found free in there can be taken a moment later.
_LOWEST, _HIGHEST = 10000, 31000
_handed_out: set[int] = set()


def all_free(ports: Iterable[int]) -> bool:
    """Return whether every one of the ports can be bound on this machine now."""
    for port in ports:
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port, never the same one twice in a process; every process begins its search elsewhere."""
    span = _HIGHEST - _LOWEST
    for offset in range(span):
        port = _LOWEST + (os.getpid() * 131 + offset) % span
        if port not in _handed_out and all_free([port]):
            _handed_out.add(port)
            return port
    raise RuntimeError("no free port")


def free_base(relative_ports: Iterable[int]) -> int:
    """Return a port base N at which every port N + relative is free."""
    wanted = tuple(relative_ports)
    bases = range(_LOWEST, _HIGHEST, 1000)
    first = os.getpid() % len(bases)
    for base in (*bases[first:], *bases[:first]):
        if all_free(base + relative for relative in wanted):
            return base
    raise RuntimeError("no free block of ports")
