"""Training of the learned policies; needs the `train` extra."""
