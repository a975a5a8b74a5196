"""Ground floor: paths, clock, durable files, store, events, hosts, web guard, daemon loop, errors."""
