"""Makes and measures one candidate."""
