"""What each task needs of this machine and this project, and what of it is there."""
