"""The engine: how it is reached, and what it says about itself."""
