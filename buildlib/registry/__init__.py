"""Speaks to registries: pushes by digest, tags, lists; what is transient is tried again."""
