"""Checks a submission as the organisers would."""
