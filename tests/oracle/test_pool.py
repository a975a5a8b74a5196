from __future__ import annotations

import shutil
import threading

import pytest

from realm.core.errors import Conflict, Unknown
from realm.oracle.checkpoints import Verified
from realm.oracle.pool import Pool
from tests.oracle.conftest import FakeMind, Home


def make_pool(home: Home, size: int = 100, budget: int = 10**9) -> tuple[Pool, list[int]]:
    """A pool of fake minds of `size` bytes; the list tells which steps were really loaded."""
    opened: list[int] = []

    def open_fake(read: Verified) -> FakeMind:
        opened.append(read.source.step)
        return FakeMind(read, size)

    return Pool(home.paths, open_fake, budget=budget), opened


def loaded(pool: Pool) -> list[int]:
    return [entry["step"] for entry in pool.describe()]


def test_get_is_strict_and_names_what_is_loaded(home: Home) -> None:
    home.add(100)
    pool, _ = make_pool(home)
    pool.load(100)
    with pytest.raises(Unknown) as caught:
        pool.get(10)
    assert caught.value.message == "Step 10 is not loaded. Loaded: [100]"
    assert "/models/load" in caught.value.hint
    with pytest.raises(Unknown, match="step 10"):
        pool.load(10)
    assert loaded(pool) == [100]


def test_loading_twice_loads_once(home: Home) -> None:
    pool, opened = make_pool(home)
    first = pool.load(0)
    assert pool.load(0) == first
    assert opened == [0]
    assert first["model_path"] == "models/tiny"


def test_many_threads_load_a_step_once(home: Home) -> None:
    home.add(1)
    pool, opened = make_pool(home)
    threads = [threading.Thread(target=pool.load, args=(1,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [1]


def test_the_least_recently_used_leaves_when_the_budget_is_full(home: Home) -> None:
    for step in (1, 2, 3):
        home.add(step)
    size = 10**6
    pool, _ = make_pool(home, size, budget=2 * size + 10)
    pool.load(1)
    pool.load(2)
    with pool.use(1):
        pass
    pool.load(3)
    assert loaded(pool) == [1, 3]


def test_a_mind_in_use_is_neither_evicted_nor_unloaded(home: Home) -> None:
    for step in (1, 2):
        home.add(step)
    size = 10**6
    pool, _ = make_pool(home, size, budget=size + 10)
    pool.load(1)
    with pool.use(1) as mind:
        with pytest.raises(Conflict, match="in use"):
            pool.load(2)
        with pytest.raises(Conflict, match="answering"):
            pool.unload(1)
        assert mind.step == 1
    pool.load(2)
    assert loaded(pool) == [2]


def test_a_mind_over_the_whole_budget_is_refused_and_nothing_leaves(home: Home) -> None:
    home.add(1)
    pool, opened = make_pool(home, 10, budget=100)
    with pytest.raises(Conflict, match="REALM_ORACLE_BUDGET_MB"):
        pool.load(1)
    assert opened == []


def test_a_dropped_checkpoint_serves_on_from_memory(home: Home) -> None:
    folder = home.add(7)
    pool, opened = make_pool(home)
    assert pool.load(7)["dropped"] is False
    shutil.rmtree(folder)
    assert pool.load(7)["dropped"] is True
    with pool.use(7) as mind:
        assert mind.step == 7
    assert pool.available() == [0]
    pool.unload(7)
    with pytest.raises(Unknown, match="step 7"):
        pool.load(7)
    assert opened == [7]


def test_a_step_saved_anew_is_loaded_anew(home: Home) -> None:
    home.add(7, "20261122-1200")
    pool, opened = make_pool(home)
    old = pool.load(7)
    home.add(7, "20261122-1305")
    new = pool.load(7)
    assert opened == [7, 7]
    assert new["model"] == "checkpoint-7-20261122-1305"
    assert new["weights_sha256"] != old["weights_sha256"]
    assert loaded(pool) == [7]


def test_names_are_exact(home: Home) -> None:
    home.add(10)
    home.add(100)
    pool, _ = make_pool(home)
    pool.load(10)
    pool.load(100)
    assert pool.by_name("checkpoint-10-20261122-1200") == 10
    with pytest.raises(Unknown, match="checkpoint-10'"):
        pool.by_name("checkpoint-10")
