"""The study's page and the pages of its trials, as HTML."""
