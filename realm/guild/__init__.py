"""The guild: skills, curriculum, progression, achievements, sparring, tasks, lineage."""
