"""What the tasks do."""
