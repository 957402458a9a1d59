"""Judges of steps: process reward models, LLM judges, likelihoods, and the oracle."""
