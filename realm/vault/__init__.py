"""The vault: what is stored, what it was when it was stored, and what stays."""
