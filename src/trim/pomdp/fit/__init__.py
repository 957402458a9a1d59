"""Estimation of the POMDP from recorded traces: step labels, pairs of texts of one step, and the fit itself."""
