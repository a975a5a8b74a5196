"""Short import names of a checkout for `realm.vault`."""

from realm.vault.keeper.discovery import VaultDiscovery
from realm.vault.keeper.vault_keeper import VaultKeeper, ask_vault_first
from realm.vault.zones.registry import pull_from_zone, push_to_zone
from realm.vault.zones.strongholds import StorageRegistry, StrongholdType

__all__ = [
    "StorageRegistry", "StrongholdType", "VaultDiscovery", "VaultKeeper", "ask_vault_first", "pull_from_zone", "push_to_zone",
]  # fmt: skip
