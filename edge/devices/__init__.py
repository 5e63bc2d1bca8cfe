"""The devices that measure: this host, a fake one, a pool."""
