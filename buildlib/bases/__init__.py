"""Base images: whether they are current, supported, and pinned."""
