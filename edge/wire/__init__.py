"""A device behind a wire: the agent on it (`serve`, `agent`, `store`), and the other side (`connect`, `remote`)."""
