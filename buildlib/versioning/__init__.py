"""Versions, and the tags that follow from them."""
