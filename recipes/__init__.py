"""Recipes that made the shipped models and policies, and measured them."""

import os

# oneDNN keeps a compiled kernel and its scratch memory for every shape that it meets: with batches of all lengths that
# is gigabytes. Read when torch first computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
