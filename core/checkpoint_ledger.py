"""Short name of the checkpoint ledger in `realm.vault`."""

from realm.vault.ledger import extract_step
from realm.vault.ledger_client import RemoteLedgerClient, get_ledger, get_ledger_client, record_checkpoint

__all__ = ["RemoteLedgerClient", "extract_step", "get_ledger", "get_ledger_client", "record_checkpoint"]
