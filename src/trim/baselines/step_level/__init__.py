"""Step-level methods of other papers."""
