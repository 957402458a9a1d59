"""Settings from TOML and the environment, resolved once into specs, and the opening of everything that they name."""
