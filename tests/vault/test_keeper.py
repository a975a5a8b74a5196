"""The keeper of this machine and the client of another's: one contract for both, then what each does beside it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from asset_kit import fill, flip, make_checkpoint
from fastapi import FastAPI

from realm.core.errors import BadInput, Conflict, Corrupt, Unavailable, Unknown
from realm.core.paths import Paths
from realm.core.store import open_facts
from realm.core.web import make_app
from realm.vault.keeper.catalogue import Catalogue, Place
from realm.vault.keeper.discovery import VaultDiscovery
from realm.vault.keeper.keeper_client import MAX_ANSWER, VaultKeeperClient
from realm.vault.keeper.keeper_routes import keeper_router
from realm.vault.keeper.rounds import Rounds
from realm.vault.keeper.vault_keeper import Courier, KeeperCalls, VaultKeeper, ask_vault_first

PORT = 20768
NAME = "checkpoint-50-20260101-0000"


class InProcess(httpx.BaseTransport):
    """Sends a synchronous client's requests to an app of this process."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport) as client:
                sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
                return await client.send(sent)

        answer = asyncio.run(run())
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def app_of(paths: Paths) -> FastAPI:
    return make_app("vault", [keeper_router(paths, VaultKeeper(paths))], port=PORT)


def client_of(paths: Paths, here: VaultKeeper | None = None) -> VaultKeeperClient:
    return VaultKeeperClient(f"127.0.0.1:{PORT}", here=here, transport=InProcess(app_of(paths)))


@pytest.fixture
def paths(tmp_path) -> Paths:
    found = Paths(tmp_path / "home").ensure()
    fill(found)
    VaultDiscovery(found).scan()
    return found


@pytest.fixture(params=["local", "remote"])
def calls(request, paths: Paths) -> KeeperCalls:
    here = VaultKeeper(paths)
    return here if request.param == "local" else client_of(paths, here)


# the contract


def test_locate(calls: KeeperCalls) -> None:
    found = calls.locate("checkpoint_50")
    assert found.found
    assert found.best_location.path == f"models/current_model/{NAME}"
    assert found.asset is not None
    assert found.asset.name == NAME
    for asset_id in ("checkpoint_51", "data_nothing"):
        missing = calls.locate(asset_id)
        assert not missing.found
        with pytest.raises(Unknown):
            _ = missing.best_location


@pytest.mark.parametrize("wrong", ["../../etc/passwd", "checkpoint_1/../x", "Checkpoint_50", "", "a" * 200])
def test_what_is_no_id_is_refused(calls: KeeperCalls, wrong: str) -> None:
    for call in (calls.locate, calls.register, calls.ensure_local):
        with pytest.raises(BadInput):
            call(wrong)


def test_search(calls: KeeperCalls) -> None:
    assert [asset.id for asset in calls.search("syllo").rows] == ["data_train_syllo_abc"]
    first = calls.search(type="checkpoint", limit=1)
    rest = calls.search(type="checkpoint", limit=1, after=first.next)
    assert [asset.id for page in (first, rest) for asset in page.rows] == ["checkpoint_100", "checkpoint_50"]
    assert rest.next is None
    with pytest.raises(Unknown):
        calls.search(type="weights")


def test_register(calls: KeeperCalls, paths: Paths) -> None:
    make_checkpoint(paths, 150)
    assert calls.locate("checkpoint_150").asset is None
    assert calls.register("checkpoint_150").meta["step"] == 150
    assert calls.register("checkpoint_150").meta["step"] == 150
    with pytest.raises(Unknown):
        calls.register("checkpoint_151")
    flip(make_checkpoint(paths, 200) / "config.json", 2)
    with pytest.raises(Corrupt):
        calls.register("checkpoint_200")


def test_ensure_local(calls: KeeperCalls, paths: Paths) -> None:
    assert calls.ensure_local("checkpoint_50") == paths.current_model / NAME
    assert calls.ensure_local("data_train_syllo_abc") == paths.data / "train_syllo_abc.jsonl"
    assert calls.ensure_local("config_config") == paths.config
    assert calls.is_available()
    with pytest.raises(Unknown):
        calls.ensure_local("checkpoint_51")


def test_ensure_local_sees_what_no_scan_has_entered(calls: KeeperCalls, paths: Paths) -> None:
    made = make_checkpoint(paths, 150)
    assert calls.ensure_local("checkpoint_150") == made


def test_a_damaged_copy_is_never_handed_out(calls: KeeperCalls, paths: Paths) -> None:
    flip(paths.current_model / NAME / "model.safetensors", 70, quietly=True)
    with pytest.raises(Unavailable, match="checkpoint_50"):
        calls.ensure_local("checkpoint_50")
    assert not calls.locate("checkpoint_50").found


# the local one


def courier(paths: Paths, kept: Path) -> Courier:
    def bring(location, manifest, into: Path) -> None:
        if not kept.is_dir():
            raise Unavailable(f"{location.zone} does not answer")
        shutil.copytree(kept, into, dirs_exist_ok=True)

    def land(location, manifest) -> None:
        target = paths.current_model / manifest.name
        target.mkdir()
        bring(location, manifest, target)
        VaultDiscovery(paths).scan(only=manifest.id)

    return Courier(bring, land)


def test_what_is_elsewhere_is_fetched_and_verified(paths: Paths, tmp_path: Path) -> None:
    kept = tmp_path / "nas"
    shutil.move(paths.current_model / NAME, kept)
    VaultDiscovery(paths).scan()
    with closing(open_facts(paths)) as facts:
        Catalogue(facts).place("checkpoint_50", Place(zone="cellar", stronghold="nas1", kind="nas", path="c50"))
    with pytest.raises(Unavailable, match="no whole copy") as told:
        VaultKeeper(paths).ensure_local("checkpoint_50")
    assert "cellar/nas1" in told.value.hint

    keeper = VaultKeeper(paths, courier(paths, kept))
    assert ask_vault_first("checkpoint_50", keeper=keeper) == paths.current_model / NAME
    assert keeper.locate("checkpoint_50").best_location.kind == "local"


def test_fetch_to_a_folder_of_ones_own(paths: Paths, tmp_path: Path) -> None:
    keeper = VaultKeeper(paths)
    got = keeper.fetch("checkpoint_50", tmp_path / "copy")
    assert {p.name for p in got.iterdir()} == {p.name for p in (paths.current_model / NAME).iterdir()}
    assert keeper.fetch("data_train_syllo_abc", tmp_path / "data") == tmp_path / "data" / "train_syllo_abc.jsonl"
    with pytest.raises(Conflict):
        keeper.fetch("checkpoint_50", tmp_path / "copy")
    flip(paths.current_model / NAME / "config.json", 3, quietly=True)
    with pytest.raises(Unavailable) as told:
        keeper.fetch("checkpoint_50", tmp_path / "other")
    assert "config.json" in told.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "data", "home"]


def test_a_fallback_is_used_only_when_nobody_has_it_and_only_whole(paths: Paths, tmp_path: Path) -> None:
    keeper = VaultKeeper(paths)
    other = shutil.copytree(paths.current_model / NAME, tmp_path / "other")
    assert ask_vault_first("checkpoint_50", other, keeper=keeper) == paths.current_model / NAME
    assert ask_vault_first("checkpoint_9", other, keeper=keeper) == other
    with pytest.raises(Unknown):
        ask_vault_first("checkpoint_9", tmp_path / "nowhere", keeper=keeper)
    flip(other / "config.json", 1)
    with pytest.raises(Corrupt):
        ask_vault_first("checkpoint_9", other, keeper=keeper)


# the remote one


def test_an_asset_of_another_machine_is_brought_here(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = Paths(tmp_path / "box").ensure()
    box.hosts.write_text('{"zone": "box"}')
    here = VaultKeeper(box, courier(box, paths.current_model / NAME))

    assert client_of(paths, here).ensure_local("checkpoint_50") == box.current_model / NAME
    assert {one.zone for one in here.locate("checkpoint_50").locations} == {"local", "box"}
    assert not here.locate("checkpoint_100").found
    with pytest.raises(Unavailable):
        client_of(paths, VaultKeeper(box)).ensure_local("checkpoint_100")


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> VaultKeeperClient:
    return VaultKeeperClient("127.0.0.1:1", transport=httpx.MockTransport(answer))


def endless() -> Iterator[bytes]:
    yield from (b" " * 1024**2 for _ in range(MAX_ANSWER // 1024**2 + 2))


@pytest.mark.parametrize("answer", [
    lambda _: httpx.Response(200, content=b"<html>"),
    lambda _: httpx.Response(200, content=endless()),
    lambda _: httpx.Response(200, json={"rows": 5}),
    lambda _: httpx.Response(200, content=b"[" * 100_000),
    lambda _: httpx.Response(302, headers={"location": "http://127.0.0.1:1/"}, json={}),
    lambda _: httpx.Response(500, json=["no"]),
])  # fmt: skip
def test_a_keeper_that_lies_is_unavailable(answer: Callable[[httpx.Request], httpx.Response]) -> None:
    with pytest.raises(Unavailable):
        answering(answer).search("x")


def test_a_keeper_that_hangs_or_is_gone_is_unavailable() -> None:
    def hang(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    assert not answering(hang).is_available()
    assert not VaultKeeperClient("127.0.0.1:9").is_available()


# the routes


@pytest.fixture
def ask(paths: Paths) -> Callable[..., httpx.Response]:
    client = httpx.Client(transport=InProcess(app_of(paths)), base_url=f"http://127.0.0.1:{PORT}")
    return lambda method, path, body=None: client.request(method, path, json=body)


def test_views(ask: Callable[..., httpx.Response]) -> None:
    stats = ask("GET", "/api/stats").json()
    assert (stats["assets"], stats["types"]["checkpoint"]["count"], stats["zone"]) == (7, 2, "local")
    assert stats["disk"]["free_bytes"] > 0
    located = ask("GET", "/api/locate/checkpoint_50").json()
    assert (located["found"], located["best_location"]["kind"]) == (True, "local")
    asset = ask("GET", "/api/asset/checkpoint_50").json()
    assert asset["manifest"]["digest"] == asset["asset"]["digest"]
    assert [row["id"] for row in ask("GET", "/api/checkpoints?limit=1").json()["rows"]] == ["checkpoint_100"]
    assert [row["id"] for row in ask("GET", "/api/search?type=config").json()["rows"]] == ["config_config"]


@pytest.mark.parametrize(("method", "path", "body", "status"), [
    ("GET", "/api/locate/checkpoint_51", None, 404),
    ("GET", "/api/asset/weights_1", None, 404),
    ("GET", "/api/locate/..%2f..%2fetc", None, 404),
    ("GET", "/api/locate/%2e%2e", None, 400),
    ("GET", "/api/locate/A", None, 400),
    ("GET", "/api/search?type=weights", None, 404),
    ("GET", "/api/search?q=%22", None, 400),
    ("GET", "/api/search?limit=0", None, 422),
    ("GET", "/api/checkpoints?after=-1", None, 422),
    ("GET", "/api/checkpoints?after=99999999999999999999", None, 422),
    ("POST", "/api/fetch", {"asset_id": "../x"}, 400),
    ("POST", "/api/fetch", {"asset_id": "checkpoint_51"}, 404),
    ("POST", "/api/fetch", {"asset_id": "checkpoint_50", "path": "/tmp"}, 422),
    ("POST", "/api/register", {}, 422),
    ("POST", "/api/scan", {"path": "/"}, 422),
])  # fmt: skip
def test_wrong_requests(ask: Callable[..., httpx.Response], method: str, path: str, body: object, status: int) -> None:
    answer = ask(method, path, body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_orders(ask: Callable[..., httpx.Response], paths: Paths) -> None:
    make_checkpoint(paths, 150)
    assert ask("POST", "/api/scan", {}).json()["registered"] == ["checkpoint_150"]
    fetched = ask("POST", "/api/fetch", {"asset_id": "checkpoint_150"}).json()
    assert fetched["path"] == "models/current_model/checkpoint-150-20260101-0000"
    assert fetched["verified"] is True
    assert ask("POST", "/api/register", {"asset_id": "model_qwen3_0.6b"}).json()["type"] == "model"


# the rounds


def test_the_rounds_take_in_scrub_and_drill(tmp_path: Path) -> None:
    home = Paths(tmp_path / "home").ensure()
    fill(home)
    rounds = Rounds(home, lambda _: None)
    keeper = VaultKeeper(home)

    rounds.tick()
    assert keeper.locate("checkpoint_50").found

    make_checkpoint(home, 150)
    with closing(open_facts(home)) as facts:
        facts.execute("INSERT INTO events(at, kind, subject) VALUES ('', 'checkpoint.saved', '')")
    rounds.tick()
    assert keeper.locate("checkpoint_150").found
    rounds.tick()
    with closing(open_facts(home)) as facts:
        assert facts.execute("SELECT count(*) FROM facts WHERE key = 'vault.drill'").fetchone()[0] == 1
