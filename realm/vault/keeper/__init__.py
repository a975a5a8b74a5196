"""The keeper: which assets there are, where their copies lie, and whether every byte is still right."""
