"""Measures one model: the protocol, timing, attempts, the result."""
