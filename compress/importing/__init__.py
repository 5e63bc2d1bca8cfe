"""Reads networks that were made elsewhere."""
