"""A whole cluster of the real classes in the simulated world: nodes, router, metadata, agents, scrub and restore."""
