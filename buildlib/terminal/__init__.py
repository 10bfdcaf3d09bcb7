"""What is printed, and what a terminal shows of it."""
