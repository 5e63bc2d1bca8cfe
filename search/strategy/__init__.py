"""Decides what to try next and when to stop, without devices and without training."""
