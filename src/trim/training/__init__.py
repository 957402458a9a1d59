"""Training of the learned policies with PPO, and the routing problem as a Gymnasium environment."""
