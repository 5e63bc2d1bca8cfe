"""A Smart Power 2 to try a set-up with."""
