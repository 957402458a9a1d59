"""Showing results: tables, plots, the report page, the terminal."""
