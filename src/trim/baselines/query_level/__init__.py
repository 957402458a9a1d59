"""Query-level methods: one model writes a whole solution."""
