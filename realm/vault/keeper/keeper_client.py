"""The keeper of another machine over HTTP, with the calls of the local one; what it names is brought here and verified here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from pydantic import ValidationError

from realm.core.errors import BadInput, Conflict, Corrupt, RealmError, Refused, Unavailable, Unknown
from realm.vault.keeper.assets import Asset, AssetManifest, check_asset_id
from realm.vault.keeper.catalogue import Location, Page
from realm.vault.keeper.vault_keeper import Located, VaultKeeper

TIMEOUT = httpx.Timeout(connect=3.0, read=30.0, write=10.0, pool=3.0)
# A manifest of 20,000 files is the longest answer there is.
MAX_ANSWER = 8 * 1024**2
_ERRORS: dict[int, type[RealmError]] = {400: BadInput, 401: Refused, 403: Refused, 404: Unknown, 409: Conflict, 422: BadInput}


class VaultKeeperClient:
    """`address` is `host:8767` or a URL; `here` is this machine's keeper, into whose base directory assets are brought."""

    def __init__(
        self, address: str, *, here: VaultKeeper | None = None, token: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        url = address if "://" in address else f"http://{address}"
        self._url = url.rstrip("/").removesuffix("/api") + "/api"
        self._here = here
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._client = httpx.Client(timeout=TIMEOUT, follow_redirects=False, transport=transport, headers=headers)

    def _ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        asked = {name: value for name, value in query.items() if value is not None}
        try:
            with self._client.stream(method, self._url + path, json=body, params=asked) as answer:
                said = b""
                for block in answer.iter_bytes():
                    said += block
                    if len(said) > MAX_ANSWER:
                        raise Unavailable(f"the keeper at {self._url} answered more than {MAX_ANSWER} bytes")
            found = json.loads(said)
        except httpx.HTTPError as error:
            raise Unavailable(f"the keeper at {self._url} does not answer: {type(error).__name__}") from error
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"the keeper at {self._url} did not answer in JSON") from error
        if answer.status_code != 200:
            raise self._told(answer.status_code, found)
        return found

    def _told(self, status: int, found: Any) -> RealmError:
        error = found.get("error") if isinstance(found, dict) else None
        told = error if isinstance(error, dict) else {}
        kind = Corrupt if told.get("code") == Corrupt.code else _ERRORS.get(status, Unavailable)
        message = str(told.get("message") or f"the keeper at {self._url} answered with status {status}")
        return kind(message[:500], hint=str(told.get("hint") or "")[:500])

    def locate(self, asset_id: str) -> Located:
        """Return where an asset is; `found` is False for one that is not known there or has no copy."""
        try:
            found = self._ask("GET", f"/locate/{check_asset_id(asset_id)}")
        except Unknown:
            return Located(asset_id=asset_id, asset=None, locations=[])
        located: Located = self._read(Located, {name: found.get(name) for name in ("asset_id", "asset", "locations")})
        return located

    def _read(self, kind: Any, found: Any) -> Any:
        try:
            return kind.model_validate(found)
        except ValidationError as error:
            raise Unavailable(f"the keeper at {self._url} answered in another shape: {error.error_count()} faults") from error

    def search(self, text: str = "", type: str | None = None, after: int | None = None, limit: int = 50) -> Page:
        """Return assets that hold every word of `text`, newest entry first, one page at a time."""
        page: Page = self._read(Page, self._ask("GET", "/search", q=text, type=type, after=after, limit=limit))
        return page

    def asset(self, asset_id: str) -> Asset:
        """Return an asset; raises Unknown."""
        asset: Asset = self._read(Asset, self._ask("GET", f"/asset/{check_asset_id(asset_id)}")["asset"])
        return asset

    def manifest(self, asset_id: str) -> AssetManifest:
        """Return every file of an asset; raises Unknown, and Unavailable for a manifest that contradicts itself."""
        manifest: AssetManifest = self._read(AssetManifest, self._ask("GET", f"/asset/{check_asset_id(asset_id)}")["manifest"])
        return manifest

    def register(self, asset_id: str) -> Asset:
        """Have the other side enter what it holds under an id now; raises Unknown, Corrupt, Conflict."""
        asset: Asset = self._read(Asset, self._ask("POST", "/register", {"asset_id": check_asset_id(asset_id)}))
        return asset

    def is_available(self) -> bool:
        """Say whether the keeper answers."""
        try:
            self._ask("GET", "/search", q="", limit=1)
        except Unavailable:
            return False
        return True

    def ensure_local(self, asset_id: str) -> Path:
        """Return a verified path on this machine, fetched when needed; the other keeper says where the copies are.

        Raises Unknown when neither side knows the asset, Unavailable when no copy can be brought here.
        """
        here = self._here or VaultKeeper()
        if not here.locate(asset_id).found and not here.present_on_disk(asset_id):
            there = self.locate(asset_id)
            if there.asset is None:
                raise Unknown(f"neither this machine nor the keeper at {self._url} knows {asset_id}")
            here.learn(self.manifest(asset_id), there.asset, [_seen_from_here(one) for one in there.locations])
        return here.ensure_local(asset_id)


def _seen_from_here(location: Location) -> Location:
    """What is local to the other keeper is remote to us."""
    return location.model_copy(update={"kind": "remote"}) if location.kind == "local" else location
