"""The configuration: every table, and how each is read."""
