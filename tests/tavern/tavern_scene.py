"""Names that the tests of the Tavern share: a port, a host registry, a skill, a client."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from fastapi import FastAPI

from realm.core.hosts import Host, Hosts, Service
from realm.watchtower import SkillCard

PORT = 20888
HOSTS = Hosts(
    hosts={
        "here": Host(name="Here", services={"inference": Service(port=8765), "tavern": Service(port=8888)}),
        "box": Host(name="Inference Server", host="192.0.2.7", role="inference", services={"inference": Service(port=8765)}),
        "nas": Host(name="NAS", host="192.0.2.8", role="storage"),
    }
)
CARDS = {"bin": SkillCard("bin", "Binary Alchemy", max_level=30)}
MakeApp = Callable[..., FastAPI]


def client_of(app: FastAPI, port: int = PORT) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://127.0.0.1:{port}")
