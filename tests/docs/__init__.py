"""README and documentation: every command and snippet is run, and the output that they show is compared."""
