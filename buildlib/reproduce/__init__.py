"""Builds twice under conditions that differ, and explains every difference in what came out."""
