"""One way to build and serve every HTTP service: guard, error bodies, health, API pages without outside resources."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from realm.core.api_page import DOCS_CSS, DOCS_HTML, DOCS_JS
from realm.core.clock import SYSTEM
from realm.core.errors import RealmError, Refused, error_body
from realm.core.guard import SECURITY_HEADERS, Guard, Keyring, Role, Rules
from realm.core.idempotency import Repeats
from realm.core.listening import Listening, open_sockets
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.core.version import build_id, version

log = get_logger("web")
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
HealthFacts = Callable[[], dict[str, Any]]


class NothingBody(BaseModel):
    """An empty object; the body is there so that a foreign page cannot send the request as a simple one."""

    model_config = ConfigDict(extra="forbid")


def make_app(
    service: str,
    routers: Sequence[APIRouter],
    *,
    port: int,
    lifespan: Lifespan | None = None,
    upload_paths: Sequence[str] = (),
    health: HealthFacts | None = None,
    listening: Listening | None = None,
    keyring: Keyring | None = None,
    needs: Mapping[str, Role] | None = None,
    repeats: Paths | None = None,
) -> FastAPI:
    """Build a service's app: its routers plus `/health`, `/openapi.json` and `/docs`, behind the guard.

    `listening` is 127.0.0.1 unless another place was decided; `keyring` and `needs` are the guard's. `health` adds facts
    to the health answer. `repeats` is the base directory in which answers to requests with an Idempotency-Key are kept.
    The instance id in the health answer is the one the weaver gave this process, so that an answer of an older process on
    the same port is not mistaken for the new one's.

    Raises Refused for a place that other machines reach without a keyring that is locked: the rule of every port.
    """
    if listening is not None and listening.address is not None and (keyring is None or not keyring.locked()):
        raise Refused(f"{listening.address} is reached by other machines, and {service} asks for no token",
                      hint="listen on 127.0.0.1 and use a tunnel")  # fmt: skip
    title = f"Realm of Training: {service}"
    app = FastAPI(title=title, version=version(), docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.port = port
    app.state.listening = listening or Listening(port)
    app.state.rules = Rules(
        app.state.listening.hosts, upload_paths=frozenset(upload_paths), keyring=keyring, needs=needs or {}
    )
    _add_errors(app)
    app.include_router(_common_routes(service, health))
    for router in routers:
        app.include_router(router)
    if repeats is not None:
        app.add_middleware(_RepeatsMiddleware, paths=repeats)
    # Added last, so that it is asked first.
    app.add_middleware(_GuardMiddleware, rules=app.state.rules)
    return app


class _GuardMiddleware(Guard):
    """The guard under the keyword signature that `add_middleware` uses."""

    def __init__(self, app: Any, *, rules: Rules) -> None:
        super().__init__(app, rules)


class _RepeatsMiddleware(Repeats):
    """`Repeats` under the keyword signature that `add_middleware` uses."""

    def __init__(self, app: Any, *, paths: Paths) -> None:
        super().__init__(app, paths)


def _common_routes(service: str, health: HealthFacts | None) -> APIRouter:
    router = APIRouter()
    started = SYSTEM.monotonic()

    @router.get("/health", tags=["service"])
    def get_health() -> dict[str, Any]:
        """Answer while the service lives; `instance` tells which start of it answered."""
        facts = health() if health else {}
        return {
            "status": "ok",
            "service": service,
            "instance": os.environ.get("REALM_INSTANCE", ""),
            "pid": os.getpid(),
            "build": build_id(),
            "uptime_s": round(SYSTEM.monotonic() - started, 1),
            **facts,
        }

    def page(body: str, kind: str) -> Callable[[], Response]:
        return lambda: Response(body, media_type=kind)

    router.add_api_route("/docs", page(DOCS_HTML, "text/html"), include_in_schema=False)
    router.add_api_route("/docs.js", page(DOCS_JS, "text/javascript"), include_in_schema=False)
    router.add_api_route("/docs.css", page(DOCS_CSS, "text/css"), include_in_schema=False)
    return router


def _add_errors(app: FastAPI) -> None:
    async def realm_error(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RealmError)
        return JSONResponse(error_body(error), status_code=error.status)

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()[:5])
        return _plain_error(422, "invalid", found)

    async def http_error(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _plain_error(error.status_code, "http", str(error.detail))

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("unhandled error in %s %s", request.method, request.url.path, exc_info=error)
        answer = _plain_error(500, "internal", f"{type(error).__name__} in {request.url.path}", "see logs/ for the trace")
        # This one answer is made outside the guard.
        answer.raw_headers.extend(SECURITY_HEADERS)
        return answer

    app.add_exception_handler(RealmError, realm_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, unexpected)


def _plain_error(status: int, code: str, message: str, hint: str = "") -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message, "hint": hint}}, status_code=status)


def make_server(app: FastAPI) -> uvicorn.Server:
    """Return the uvicorn server of an app, by itself bound to loopback, with the limits of ARCHITECTURE.md, Security."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=app.state.port,
        workers=1,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=1100,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=16384,
        ws="none",
    )
    server = uvicorn.Server(config)
    # Endless answers (event streams) look here to end by themselves when the server is told to stop.
    app.state.server = server
    return server


def serve(app: FastAPI) -> None:
    """Serve until SIGTERM or SIGINT where the app was told to listen; raises Conflict when the port is taken."""
    sockets = open_sockets(app.state.listening)
    try:
        make_server(app).run(sockets=sockets)
    finally:
        for one in sockets:
            one.close()


def serve_in_thread(app: FastAPI) -> tuple[uvicorn.Server, threading.Thread]:
    """Serve from a background thread (no signal handlers) and return the server, to be stopped by `should_exit`."""
    server = make_server(app)
    thread = threading.Thread(target=server.run, name=f"http-{app.state.port}", daemon=True)
    thread.start()
    return server, thread
