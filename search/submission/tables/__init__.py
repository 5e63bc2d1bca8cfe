"""Tables 1 to 3."""
