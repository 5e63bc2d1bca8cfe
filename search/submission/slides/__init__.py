"""The slides of a submission, written and read."""
