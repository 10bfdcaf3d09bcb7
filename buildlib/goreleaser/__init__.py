"""The part of GoReleaser's configuration that follows from ours."""
