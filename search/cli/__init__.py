"""The `thrones` command: one file for each group of commands."""
