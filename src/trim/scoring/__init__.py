"""Judges of steps: process reward models, LLM judges, token probabilities, true labels."""
