"""Asking a branch officer: JSON by httpx, chunks by the standard library's HTTP client, which reads a megabyte at a time.

Addresses come from config/hosts.json alone. Every phase has a time limit, answers are capped, redirects are not followed,
and a zone that keeps failing is left alone for a while.
"""

from __future__ import annotations

import functools
import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from realm.core.clock import SYSTEM, Clock
from realm.core.errors import Corrupt, RealmError, Refused, Unavailable
from realm.core.hosts import Zone
from realm.vault.keeper.assets import AssetManifest
from realm.vault.ledger import Record
from realm.vault.zones.transfer_source import BLOCK, CHUNK, Chunk, Offer

TIMEOUT = httpx.Timeout(connect=3.0, read=15.0, write=15.0, pool=3.0)
CONNECT_S, SILENCE_S = 5.0, 20.0
# A chunk that drips slower than this is a cut.
SLOWEST_CHUNK_S = 600.0
MAX_ANSWER = 32 * 1024**2
DIGEST_HEADER = "x-prefix-sha256"
SMALLEST_CHUNK = 64 * 1024
FAILS, PAUSE_S = 5, 20.0


@dataclass
class Breaker:
    """Counts outages in a row; after `FAILS` of them a zone is not asked for `PAUSE_S` seconds."""

    clock: Clock = SYSTEM
    fails: int = 0
    opened: float | None = None
    reason: str = ""

    def left(self) -> float:
        """Return the seconds until the zone is asked again, 0 when it may be asked now."""
        return 0.0 if self.opened is None else max(0.0, self.opened + PAUSE_S - self.clock.monotonic())

    def failed(self, reason: str) -> None:
        self.fails, self.reason = self.fails + 1, reason
        if self.fails >= FAILS:
            self.opened = self.clock.monotonic()

    def answered(self) -> None:
        self.fails, self.opened, self.reason = 0, None, ""

    def told(self) -> dict[str, Any]:
        """Return the state as it is shown."""
        left = self.left()
        return {"state": "open" if left else "closed", "fails": self.fails, "retry_in_s": round(left, 1), "reason": self.reason}


_breakers: dict[str, Breaker] = {}
_lock = threading.Lock()


@functools.cache
def _tls(scheme: str) -> ssl.SSLContext:
    """Return how certificates are verified; reading the system's takes 0.2 s, and plain HTTP needs none of them."""
    return ssl.create_default_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def breaker_of(url: str) -> Breaker:
    """Return this process's breaker of an address."""
    with _lock:
        return _breakers.setdefault(url, Breaker())


class ZoneClient:
    """One zone's branch officer, as a source of transfers and for questions."""

    def __init__(self, zone_id: str, zone: Zone, token: str | None = None, breaker: Breaker | None = None) -> None:
        self.zone_id, self._zone = zone_id, zone
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.breaker = breaker or breaker_of(zone.url)
        self._wire: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    # questions

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Return the JSON object a zone answers with; raises Unavailable, or the error it answered with."""
        self._may_ask()
        try:
            status, told = self._talk(method, path, body)
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise self._cut(error) from error
        found = self._parsed(told)
        if status >= 500:
            self.breaker.failed(f"status {status}")
        else:
            self.breaker.answered()
        if not 200 <= status < 300:
            raise self._refusal(status, found)
        return found

    def _talk(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        headers = {**self._headers, "Accept-Encoding": "identity"}
        with (
            httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False, verify=_tls(self._zone.scheme)) as client,
            client.stream(method, self._zone.url + path, json=body, headers=headers) as answer,
        ):
            told = b""
            for block in answer.iter_raw():
                told += block
                if len(told) > MAX_ANSWER:
                    raise Corrupt(f"zone {self.zone_id} answered with more than {MAX_ANSWER} bytes")
            return answer.status_code, told

    def _may_ask(self) -> None:
        if left := self.breaker.left():
            raise Unavailable(
                f"zone {self.zone_id} failed {self.breaker.fails} times in a row and is not asked for {left:.0f} s",
                hint=self.breaker.reason,
            )

    def _silent(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"zone {self.zone_id} does not answer at {self._zone.url}: {type(error).__name__}",
            hint="start its branch officer (realm vault branch), and compare config/hosts.json",
        )

    def _parsed(self, told: bytes) -> dict[str, Any]:
        try:
            found = json.loads(told)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"zone {self.zone_id} did not answer in JSON", hint="is another program on that port?") from error
        if not isinstance(found, dict):
            raise Unavailable(f"zone {self.zone_id} did not answer with an object")
        return found

    def _refusal(self, status: int, body: dict[str, Any]) -> RealmError:
        told = body.get("error")
        message = str(told.get("message", "")) if isinstance(told, dict) else ""
        hint = str(told.get("hint", "")) if isinstance(told, dict) else ""
        text = f"zone {self.zone_id}: {message[:500] or f'status {status}'}"
        if status in (401, 403, 421):
            return Refused(text, hint=hint[:500] or "compare tokens and allowed hosts of the two zones")
        kinds = {kind.status: kind for kind in RealmError.__subclasses__() if kind.code != "no_token"}
        return kinds.get(status, Unavailable)(text, hint=hint[:500])

    # as a source

    def offer(self, asset_id: str) -> Offer:
        """Return an asset's manifest as the zone tells it; raises Corrupt when it contradicts itself."""
        told = self.ask("GET", f"/fetch/{asset_id}")
        try:
            asset, chunk = AssetManifest.model_validate(told["asset"]), int(told["chunk_bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"zone {self.zone_id} sent a manifest of {asset_id} that contradicts itself") from error
        return Offer(asset, min(max(chunk, SMALLEST_CHUNK), CHUNK))

    def line(self, asset: AssetManifest) -> list[Record]:
        """Return the records from the first parent to a checkpoint itself."""
        told = self.ask("GET", f"/fetch/{asset.id}/line")
        try:
            return [Record.model_validate(one) for one in told["line"]]
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"zone {self.zone_id} sent records of {asset.id} that are none") from error

    @contextmanager
    def chunk(self, asset: AssetManifest, number: int, start: int, length: int) -> Iterator[Chunk]:
        """Ask for a range of one file and yield its blocks; every fault of the wire is Unavailable."""
        self._may_ask()
        whole = False
        try:
            answer = self._answer(asset, number, start, length)
            yield Chunk(answer.getheader(DIGEST_HEADER), self._blocks(answer, length))
            whole = True
            self.breaker.answered()
        finally:
            if not whole:
                self.close()  # what is left of the answer would be taken for the next one

    def _cut(self, error: Exception) -> Unavailable:
        self.breaker.failed(f"{type(error).__name__}: {error}")
        return self._silent(error)

    def _answer(self, asset: AssetManifest, number: int, start: int, length: int) -> http.client.HTTPResponse:
        kept = self._wire is not None
        try:
            try:
                return self._request(asset, number, start, length)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not kept:
                    raise
                # A server closes connections that were idle for some seconds; nothing was sent for this request yet.
                self.close()
                return self._request(asset, number, start, length)
        except (OSError, http.client.HTTPException) as error:
            raise self._cut(error) from error

    def _request(self, asset: AssetManifest, number: int, start: int, length: int) -> http.client.HTTPResponse:
        wire = self._connected()
        wire.request("GET", f"/fetch/{asset.id}/files/{number}", headers={
            **self._headers, "Range": f"bytes={start}-{start + length - 1}", "If-Match": f'"{asset.digest}"',
            "Accept-Encoding": "identity",
        })  # fmt: skip
        answer = wire.getresponse()
        if answer.status != 206:
            body = answer.read(64 * 1024)
            if answer.status >= 500:
                self.breaker.failed(f"status {answer.status}")
            raise self._refusal(answer.status, self._parsed(body))
        if answer.getheader("content-range", "").split("/")[0] != f"bytes {start}-{start + length - 1}":
            raise Unavailable(f"zone {self.zone_id} answered with another range than was asked for")
        return answer

    def _connected(self) -> http.client.HTTPConnection:
        if self._wire is None:
            kind = http.client.HTTPSConnection if self._zone.scheme == "https" else http.client.HTTPConnection
            self._wire = kind(self._zone.host, self._zone.port, timeout=CONNECT_S)
            self._wire.connect()
            self._wire.sock.settimeout(SILENCE_S)
        return self._wire

    def _blocks(self, answer: http.client.HTTPResponse, length: int) -> Iterator[bytes]:
        begun, left = self.breaker.clock.monotonic(), length
        try:
            # One byte more than asked for is read, so that a longer answer is seen.
            while block := answer.read(min(BLOCK, left + 1)):
                left = max(0, left - len(block))
                if self.breaker.clock.monotonic() - begun > SLOWEST_CHUNK_S:
                    raise TimeoutError(f"a chunk took more than {SLOWEST_CHUNK_S:.0f} s")
                yield block
        except (OSError, http.client.HTTPException) as error:
            # A zone that was sending lives: this is no outage to the breaker.
            raise self._silent(error) from error
