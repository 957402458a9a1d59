"""The gateway: step routing behind OpenAI's API (docs/gateway.md). Needs the extra `serve`."""
