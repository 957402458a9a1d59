"""Estimating the POMDP from recorded traces: step labels, resampled texts, and the fit."""
