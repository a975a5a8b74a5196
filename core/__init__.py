"""Short import names of a checkout for `realm.core`."""
