"""Estimates of the POMDP from recorded traces."""
