"""Clients of models: the embedded engine, OpenAI-compatible servers, process reward models."""
