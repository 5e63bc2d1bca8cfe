"""Shows what a study found: tables, charts, pages."""
