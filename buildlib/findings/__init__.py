"""What checks find, and what of it is ignored."""
