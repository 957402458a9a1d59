"""Models that write steps: behind servers over HTTP, in this process, or replayed from a record."""
