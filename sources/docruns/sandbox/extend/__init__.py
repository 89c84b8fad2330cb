"""The Extend platform of the sandbox: one state, rendered in every dated version of the API."""
