"""The milestones: tables, slides, replay, zips and their check."""
