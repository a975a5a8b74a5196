"""The host registry: which machine runs which service, from `config/hosts.json`, with defaults for a single machine."""

from __future__ import annotations

import json
import os
import socket
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from realm.core.errors import BadInput, unknown_name
from realm.core.ids import check_id
from realm.core.paths import Paths, resolve_home

# Default ports; `--port-base N` moves all of them: port = N + (default - 8000).
PORTS = {
    "tavern": 8888,
    "vault": 8767,
    "taskmaster": 8766,
    "inference": 8765,
    "branch": 8768,
    "watchtower": 8081,
    "skill_sy": 8080,
    "skill_bin": 8090,
}
PORT_BASE = 8000


class Service(BaseModel):
    """One service of a host: its default port (none for a process without one) and the path of its API."""

    model_config = ConfigDict(extra="forbid")
    port: int | None = Field(default=None, ge=1, le=65535)
    path: str = ""


class Host(BaseModel):
    """One machine: a name for people, an address, a role and its services."""

    model_config = ConfigDict(extra="forbid")
    name: str
    host: str = "127.0.0.1"
    role: str = "trainer"
    models_dir: str | None = None
    services: dict[str, Service] = {}


# A bare name or address: nothing that could carry a path, a user or another port into a URL.
Address = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]


class Zone(BaseModel):
    """A place with a branch officer: its address, and how fast files may come from there (MB/s, none: no limit)."""

    model_config = ConfigDict(extra="forbid")
    name: str = ""
    host: Address
    port: int = Field(default=PORTS["branch"], ge=1, le=65535)
    scheme: Literal["http", "https"] = "http"
    role: str = "storage"
    base_dir: str | None = None
    limit_mb_s: float | None = Field(default=None, gt=0)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def _one_machine() -> dict[str, Host]:
    return {"local": Host(name="This machine", services={name: _default_service(name) for name in _TRAINER})}


class Hosts(BaseModel):
    """The whole registry; `zone` is the name by which other zones know this machine (without it, its host id)."""

    model_config = ConfigDict(extra="forbid")
    hosts: dict[str, Host] = Field(default_factory=_one_machine)
    zones: dict[str, Zone] = {}
    zone: str | None = None

    @classmethod
    def load(cls, paths: Paths) -> Hosts:
        """Read `config/hosts.json`, or the single-machine default without one; raises BadInput when malformed."""
        if not paths.hosts.is_file():
            return DEFAULT
        try:
            return cls.model_validate(json.loads(paths.hosts.read_text()))
        except (ValueError, RecursionError) as error:  # pydantic's and json's errors are ValueErrors
            raise BadInput(f"config/hosts.json is not valid: {error}", hint="see ARCHITECTURE.md, Hosts") from error

    def local_id(self) -> str:
        """Return the id of this machine: `REALM_HOST`, else the one host whose address is this machine's."""
        asked = os.environ.get("REALM_HOST")
        if asked:
            if asked not in self.hosts:
                raise unknown_name("host (REALM_HOST)", asked, list(self.hosts))
            return asked
        local = [host_id for host_id, host in self.hosts.items() if _is_local(host.host)]
        if len(local) != 1:
            raise BadInput(
                f"{len(local)} hosts of config/hosts.json have this machine's address",
                hint=f"set REALM_HOST to one of {', '.join(self.hosts)}",
            )
        return local[0]

    def local(self) -> Host:
        return self.hosts[self.local_id()]

    def own_zone(self) -> str:
        """Return the name by which other zones know this machine."""
        return check_id(self.zone or os.environ.get("REALM_ZONE") or self.local_id())

    def all_zones(self) -> dict[str, Zone]:
        """Return the other zones: those written down, and every other host that offers `branch`."""
        own, found = self.own_zone(), {}
        for host_id, host in self.hosts.items():
            if (service := host.services.get("branch")) and host_id != self.local_id():
                found[host_id] = Zone(
                    name=host.name, host=host.host, port=service.port or PORTS["branch"], role=host.role,
                    base_dir=host.models_dir,
                )  # fmt: skip
        found.update(self.zones)
        return {check_id(zone_id): zone for zone_id, zone in found.items() if zone_id != own}

    def get_zone(self, zone_id: str) -> Zone:
        """Return another zone by id; raises Unknown listing the ids. No address comes from anywhere but this file."""
        zones = self.all_zones()
        if check_id(zone_id) not in zones:
            raise unknown_name("zone", zone_id, list(zones))
        return zones[zone_id]


_TRAINER = (
    "arena", "evaluator", "dataflow", "vault", "ledger", "training", "tavern", "inference", "skill_bin", "skill_sy",
    "watchtower", "taskmaster",
)  # fmt: skip
_API_PATHS = {"vault": "/api", "ledger": "/api/ledger", "training": "/api/training"}
_SHARED_PORT = {"ledger": "vault", "training": "vault"}


def _default_service(name: str) -> Service:
    return Service(port=PORTS.get(_SHARED_PORT.get(name, name)), path=_API_PATHS.get(name, ""))


DEFAULT = Hosts()


def _is_local(address: str) -> bool:
    if address in ("127.0.0.1", "localhost", "::1"):
        return True
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Only an address of this machine can be bound.
            probe.bind((address, 0))
    except (OSError, UnicodeError):  # no such address; or no name that could be one
        return False
    return True


def port_base() -> int:
    """Return `REALM_PORT_BASE` or 8000; raises BadInput when it is not a usable number."""
    text = os.environ.get("REALM_PORT_BASE", str(PORT_BASE))
    if not (text.isascii() and text.isdigit()) or not 1024 <= int(text) <= 64000:
        raise BadInput(f"port base {text!r} is not a number from 1024 to 64000", hint="set --port-base")
    return int(text)


def moved_port(default: int, base: int | None = None) -> int:
    """Apply the rule port = base + (default - 8000); raises BadInput when that is no port."""
    port = (port_base() if base is None else base) + default - PORT_BASE
    if not 1 <= port <= 65535:
        raise BadInput(f"port {default} moves to {port}, which is no port", hint="choose another --port-base")
    return port


def port_of(service: str, base: int | None = None) -> int:
    """Return the port of a service on this machine; raises Unknown for a service without one."""
    if service not in PORTS:
        raise unknown_name("service port", service, list(PORTS))
    return moved_port(PORTS[service], base)


def _load_here() -> Hosts:
    return Hosts.load(Paths(resolve_home()[0]))


def get_host(host_id: str, hosts: Hosts | None = None) -> Host:
    """Return a host by id; raises Unknown listing the ids."""
    registry = hosts or _load_here()
    if host_id not in registry.hosts:
        raise unknown_name("host", host_id, list(registry.hosts))
    return registry.hosts[host_id]


def get_service_url(service: str, hosts: Hosts | None = None) -> str:
    """Return the URL of a service: this host's when it runs here, else the first host that has it.

    Ports of this machine follow `--port-base`. Raises Unknown when no host offers the service.
    """
    registry = hosts or _load_here()
    local = registry.local_id()
    order = [local, *(host_id for host_id in registry.hosts if host_id != local)]
    for host_id in order:
        host = registry.hosts[host_id]
        found = host.services.get(service)
        if found is None or found.port is None:
            continue
        port = moved_port(found.port) if host_id == local else found.port
        return f"http://{host.host}:{port}{found.path}"
    offered = sorted({name for host in registry.hosts.values() for name in host.services})
    raise unknown_name("service", service, offered)


def is_trainer_local(hosts: Hosts | None = None) -> bool:
    """Say whether this machine is the trainer."""
    return (hosts or _load_here()).local().role == "trainer"


