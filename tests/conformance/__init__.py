"""How TRIM copes with what servers send: kinds of servers, scripted byte for byte, and cases that are tried on each.

`python -m tests.conformance` prints the table, as `make conformance` does.
"""
