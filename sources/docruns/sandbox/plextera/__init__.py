"""The Plextera platform: page-numbered lists, runs within runs, extractions, and a switch for whatever is not documented."""
