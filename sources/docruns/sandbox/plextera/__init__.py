"""The simulated Plextera platform: page-numbered lists, nested runs, extractions, and a switch for each
undocumented behaviour."""
