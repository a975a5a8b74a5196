"""What the vault's HTTP service does beside answering: its rounds, for as long as it is served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from realm.vault.keeper import VaultKeeper
from realm.vault.rounds import rounds_beside


def rounds_of(keeper: VaultKeeper) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan of the vault's app: rounds begin with the service and end with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with rounds_beside(keeper.paths, keeper.courier.bring if keeper.courier else None):
            yield

    return lifespan
