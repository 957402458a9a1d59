"""Solving a question step by step: which model writes each step, under a policy, limits and a budget."""
