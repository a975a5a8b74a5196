"""The built web app: pages that are never kept, assets that are kept for ever, and nothing outside its list of files."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from realm.core.version import STATIC

PAGES = (
    "/", "/quests", "/oracle", "/vault", "/guild", "/scheduler", "/settings", "/achievements", "/help", "/credits",
    "/begin",
    "/film", "/curves", "/tasks",
)  # fmt: skip
BUILD_COMMAND = "npm --prefix web ci && npm --prefix web run build"
_HASHED = re.compile(r"^/assets/.+-[A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
_KINDS = {
    ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
    ".woff2": "font/woff2", ".json": "application/json", ".webmanifest": "application/manifest+json",
    ".html": "text/html", ".txt": "text/plain", ".png": "image/png", ".ico": "image/x-icon",
}  # fmt: skip
_NOT_BUILT = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>The Tavern is not built</title></head>
<body><h1>The Tavern's web app is not built</h1>
<p>The server runs; its pages are missing. In the checkout run:</p>
<pre>{BUILD_COMMAND}</pre>
<p>and load this page again. The facts without pages: <a href="/api/snapshot">/api/snapshot</a>,
<a href="/docs">/docs</a>, or the command <code>realm status</code>.</p></body></html>
"""


@dataclass(frozen=True)
class Asset:
    """One file of the web app, in memory (the whole app is at most 1.5 MB)."""

    body: bytes
    kind: str
    etag: str


def read_assets(root: Path) -> dict[str, Asset]:
    """Return URL path -> file for every plain file below `root`; a request can name nothing else."""
    found: dict[str, Asset] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            body = path.read_bytes()
            kind = _KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            found["/" + path.relative_to(root).as_posix()] = Asset(body, kind, etag)
    return found


class Bundle:
    """The web app as it lies on the disk; read again when it was built anew."""

    def __init__(self, root: Path = STATIC) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._assets: dict[str, Asset] = {}

    def assets(self) -> dict[str, Asset]:
        """Return all files, empty when the app is not built."""
        with self._lock:
            stamp = self._read_stamp()
            if stamp != self._stamp:
                self._assets = read_assets(self._root) if stamp else {}
                self._stamp = stamp
            return self._assets

    def _read_stamp(self) -> tuple[int, int] | None:
        index = self._root / "index.html"
        if not index.is_file():
            return None
        found = index.stat()
        return found.st_ino, found.st_mtime_ns


def page_routes(root: Path = STATIC) -> APIRouter:
    """Return the routes of the pages and their files; to be added after all other routes."""
    bundle = Bundle(root)
    router = APIRouter(include_in_schema=False)

    def page(status: int = 200) -> Response:
        index = bundle.assets().get("/index.html")
        if index is None:
            return HTMLResponse(_NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store"})
        return HTMLResponse(index.body, status_code=status, headers={"Cache-Control": "no-store"})

    def file(request: Request, path: str) -> Response:
        if f"/{path.rstrip('/')}" in PAGES:
            return page()
        asset = bundle.assets().get(f"/{path}")
        if asset is not None and path != "index.html":
            return _answer(asset, f"/{path}", request.headers.get("if-none-match"))
        if request.headers.get("sec-fetch-dest") == "document" and not path.startswith("api/"):
            # A person followed a wrong link: the app shows them the way back.
            return page(404)
        raise HTTPException(404, f"there is no page or file /{path[:200]}")

    router.add_api_route("/{path:path}", file, methods=["GET", "HEAD"])
    return router


def _answer(asset: Asset, path: str, known: str | None) -> Response:
    keep = "public, max-age=31536000, immutable" if _HASHED.match(path) else "no-cache"
    headers = {"Cache-Control": keep, "ETag": asset.etag}
    if known == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.kind, headers=headers)
