"""Short name of `realm.core.hosts`."""

from realm.core.hosts import get_host, get_service_url, is_trainer_local

__all__ = ["get_host", "get_service_url", "is_trainer_local"]
