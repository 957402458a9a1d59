"""The gateway: step routing behind OpenAI's API. Needs the extra `serve`."""
