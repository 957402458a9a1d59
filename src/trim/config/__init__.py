"""Settings from TOML and the environment, and the opening of everything that they name."""
