"""The simulated Extend platform: one state, rendered in every dated version of the API."""
