"""Where a service listens: 127.0.0.1, and another address only behind a token and a fixed list of host names."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from realm.core.errors import BadInput, Conflict, Refused

LOOPBACK = "127.0.0.1"
_NAME = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])\Z")


@dataclass(frozen=True)
class Listening:
    """A decided place: the address beside 127.0.0.1 (none: 127.0.0.1 only), the port, the names requests may use."""

    port: int
    address: str | None = None
    names: tuple[str, ...] = (LOOPBACK, "localhost")

    @property
    def hosts(self) -> frozenset[str]:
        """The exact `Host` headers that are answered."""
        return frozenset(f"{name}:{self.port}" for name in self.names)


def is_loopback(address: str) -> bool:
    """Say whether only this machine reaches an address; raises BadInput for what is no address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError as error:
        raise BadInput(f"{address!r} is no address to listen on", hint="give an IP address of this machine") from error


def plan_listening(
    port: int, address: str | None = None, allowed_hosts: Sequence[str] = (), *, has_token: bool = False
) -> Listening:
    """Decide where to listen. Pure.

    Raises Refused (exit code 4) for an address that other machines reach without a token or without host names, and
    BadInput for a name that is none.
    """
    for name in allowed_hosts:
        if not _NAME.match(name):
            raise BadInput(f"{name!r} is no host name", hint="give names or addresses without a port, one an option")
    names = tuple(dict.fromkeys((LOOPBACK, "localhost", *(name.lower() for name in allowed_hosts))))
    if address is None or is_loopback(address):
        return Listening(port, None, names)
    missing = [text for there, text in (
        (has_token, "no token exists (realm vault token new)"),
        (bool(allowed_hosts), "no host name is allowed (--allowed-host NAME)"),
    ) if not there]  # fmt: skip
    if missing:
        raise Refused(
            f"{address} is reached by other machines, and {' and '.join(missing)}",
            hint="make a token and name the hosts, or listen on 127.0.0.1 and use a tunnel",
        )
    return Listening(port, address, names)


def open_sockets(listening: Listening) -> list[socket.socket]:
    """Bind 127.0.0.1 and the other address; raises Conflict for a taken port, BadInput for a foreign address."""
    if listening.address is None:
        return [_bind(LOOPBACK, listening.port)]
    whole = ipaddress.ip_address(listening.address)
    first = [] if whole.is_unspecified and whole.version == 4 else [_bind(LOOPBACK, listening.port)]
    try:
        return [*first, _bind(listening.address, listening.port)]
    except BaseException:
        for other in first:
            other.close()
        raise


def _bind(address: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if opened.family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        opened.bind((address, port))
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"port {port} of {address} is taken", hint="stop what listens there, or move the port") from error
        raise BadInput(f"cannot listen on {address}: {error.strerror}", hint="give an address of this machine") from error
    return opened
