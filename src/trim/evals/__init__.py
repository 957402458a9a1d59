"""Running policies over questions, measuring, and showing what came out."""
