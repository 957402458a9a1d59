"""Desktop servers and hosted services: scripted ones as strict as the real ones, and the real ones with keys."""
