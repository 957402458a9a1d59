"""Generators: model servers over HTTP, the shipped models in this process, and recorded answers."""
