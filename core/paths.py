"""Short name of `realm.core.paths`."""

from realm.core.paths import get_base_dir

__all__ = ["get_base_dir"]
