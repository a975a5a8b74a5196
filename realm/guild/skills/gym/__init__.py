"""Tasks of reasoning-gym as skills: one server for all of them, each a YAML of about ten lines."""
