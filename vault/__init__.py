"""Short import names of a checkout for `realm.vault`."""

from realm.vault.discovery import VaultDiscovery
from realm.vault.keeper import VaultKeeper, ask_vault_first

__all__ = ["VaultDiscovery", "VaultKeeper", "ask_vault_first"]
