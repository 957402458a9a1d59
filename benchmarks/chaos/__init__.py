"""The gateway under attack; see `benchmarks.chaos.__main__`."""
