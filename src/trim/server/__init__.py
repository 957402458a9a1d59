"""The gateway: step routing behind OpenAI's API (docs/how-to/use-the-gateway.md). Needs the extra `serve`."""
