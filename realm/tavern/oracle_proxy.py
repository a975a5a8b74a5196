"""Talk to the hero through the Tavern: an answer is shown only with the step and digest that its server confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from realm.core.errors import RealmError, Unknown, error_body
from realm.core.hosts import Hosts
from realm.tavern.oracle_client import Mismatch, OracleClient, OracleHost, oracle_hosts, pick_host
from realm.watchtower.json_text import to_json

# step -> digest of that step's weights in this realm's ledger, None when the ledger does not know the step.
Digests = Callable[[int], str | None]
LARGEST_STEP = 2**53 - 1


class LoadRequest(BaseModel):
    """Load the checkpoint of a step on a host."""

    model_config = ConfigDict(extra="forbid", strict=True)
    host: str = Field(max_length=128)
    step: int = Field(ge=0, le=LARGEST_STEP)


class ChatRequest(BaseModel):
    """Ask one loaded checkpoint; the step is required, there is no fallback to another one."""

    model_config = ConfigDict(extra="forbid", strict=True)
    message: str = Field(min_length=1, max_length=32_000)
    host: str = Field(max_length=128)
    step: int = Field(ge=0, le=LARGEST_STEP)
    max_new_tokens: int | None = Field(default=None, ge=1, le=1024)
    temperature: float | None = Field(default=None, ge=0, le=5, strict=False)
    top_p: float | None = Field(default=None, gt=0, le=1, strict=False)
    seed: int | None = Field(default=None, ge=0, le=LARGEST_STEP)

    def sampling(self) -> dict[str, Any]:
        """Return the values given for how tokens are chosen; what is left out is the oracle's own default."""
        return self.model_dump(include={"max_new_tokens", "temperature", "top_p", "seed"}, exclude_none=True)


def find_loaded(loaded: Sequence[Mapping[str, Any]], step: int, host: str) -> Mapping[str, Any]:
    """Return the loaded model of a step; raises Unknown naming what is loaded. Pure."""
    for model in loaded:
        if model["step"] == step:
            return model
    steps = sorted(int(model["step"]) for model in loaded)
    listed = ", ".join(str(found) for found in steps) or "nothing"
    raise Unknown(f"step {step} is not loaded on {host}", hint=f"loaded there: {listed}", loaded=steps, host=host)


def confirmed(
    answer: Mapping[str, Any], step: int, host: str, loaded_sha: object, ledger_sha: str | None
) -> dict[str, Any]:
    """Return the answer to show; raises Mismatch unless the server confirms the asked step and its weights. Pure.

    `loaded_sha` is the digest the host listed for the step before it was asked, `ledger_sha` the one of this realm's
    ledger, or None when the ledger does not know the step.
    """
    found, sha = answer.get("step"), answer.get("weights_sha256")
    if isinstance(found, bool) or found != step:
        raise Mismatch(f"step {step} was asked and {host} answered with step {found!r}", hint="the answer is not shown")
    if not isinstance(sha, str) or not sha:
        raise Mismatch(f"{host} does not confirm which weights answered", hint="the answer is not shown")
    for known, source in ((loaded_sha, "it said it has loaded"), (ledger_sha, "the ledger has for this step")):
        if known is not None and known != sha:
            raise Mismatch(
                f"{host} answered with weights {sha[:12]}, not with {str(known)[:12]}, which {source}",
                hint="the answer is not shown; load the checkpoint again",
            )
    if not all(isinstance(answer.get(name), str) for name in ("response", "model", "model_path")):
        raise Mismatch(f"{host} answered without response, model or model_path", hint="the answer is not shown")
    return {**answer, "success": True, "host": host}


def oracle_routes(read_hosts: Callable[[], Hosts], client: OracleClient, digests: Digests) -> APIRouter:
    """Return the oracle's routes; hosts are read anew for every request, so that an edited registry is in force at once."""
    router = APIRouter(tags=["oracle"])

    @router.get("/oracle/status")
    async def get_status() -> Response:
        """List what every host with an oracle has loaded, as that host says itself."""
        hosts = oracle_hosts(read_hosts())
        states = await asyncio.gather(*(_state(client, host) for host in hosts.values()))
        return Response(to_json({"hosts": dict(zip(hosts, states, strict=True))}), media_type="application/json")

    @router.post("/oracle/load")
    async def post_load(asked: LoadRequest) -> Response:
        """Load a checkpoint on a host."""

        async def load() -> dict[str, Any]:
            host = pick_host(oracle_hosts(read_hosts()), asked.host)
            return {**await client.load(host, asked.step), "success": True, "host": host.id}

        return await _answer(load)

    @router.post("/oracle/chat")
    async def post_chat(asked: ChatRequest) -> Response:
        """Ask one loaded checkpoint; the answer carries the step and digest that its server confirmed."""

        async def chat() -> dict[str, Any]:
            host = pick_host(oracle_hosts(read_hosts()), asked.host)
            model = find_loaded((await client.info(host))["loaded"], asked.step, host.id)
            answer = await client.chat(host, asked.message, asked.step, asked.sampling())
            ledger_sha = await asyncio.to_thread(digests, asked.step)
            return confirmed(answer, asked.step, host.id, model.get("weights_sha256"), ledger_sha)

        return await _answer(chat)

    return router


async def _answer(work: Callable[[], Awaitable[dict[str, Any]]]) -> Response:
    try:
        return Response(to_json(await work()), media_type="application/json")
    except RealmError as error:
        return JSONResponse({"success": False, **error_body(error)}, status_code=error.status)


async def _state(client: OracleClient, host: OracleHost) -> dict[str, Any]:
    try:
        info = await client.info(host)
    except RealmError as error:
        why = str(error)
        return {
            "name": host.name, "state": "unreachable", "reason": why,
            "loaded_models": [], "model_count": None, "model_count_reason": why,
        }  # fmt: skip
    loaded = info.pop("loaded")
    return {**info, "name": host.name, "state": "up", "reason": "", "loaded_models": loaded, "model_count": len(loaded)}
