"""A device behind a network: agent, client and connection."""
