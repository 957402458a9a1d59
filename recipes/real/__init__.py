"""A pair of real open models on an ordinary machine: fetch them, and serve them with llama.cpp."""
