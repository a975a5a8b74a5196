"""Short name of the client of another machine's keeper."""

from realm.vault.keeper.keeper_client import VaultKeeperClient

__all__ = ["VaultKeeperClient"]
