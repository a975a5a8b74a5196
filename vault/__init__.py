"""Short import names of a checkout for `realm.vault`."""

from realm.vault.discovery import VaultDiscovery
from realm.vault.keeper import VaultKeeper, ask_vault_first
from realm.vault.strongholds import StorageRegistry, StrongholdType
from realm.vault.zones import pull_from_zone, push_to_zone

__all__ = [
    "StorageRegistry", "StrongholdType", "VaultDiscovery", "VaultKeeper", "ask_vault_first", "pull_from_zone", "push_to_zone",
]  # fmt: skip
