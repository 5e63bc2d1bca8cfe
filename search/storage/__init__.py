"""Keeps studies, trials and artifacts."""
