"""The tricks as Lightning callbacks."""
