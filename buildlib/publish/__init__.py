"""Publishing: built once, judged by its digest, pushed by it, and only then given tags."""
