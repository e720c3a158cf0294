"""The product's side of each comparison, run as a process of its own like the peers'."""
