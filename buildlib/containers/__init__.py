"""Containers of an image: planned, started, waited for, removed."""
