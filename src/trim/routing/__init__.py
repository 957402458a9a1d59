"""The step loop: one question solved step by step under a policy and a budget."""
