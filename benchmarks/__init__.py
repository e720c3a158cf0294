"""How fast and how large the product is, beside a peer measured in the same run (`python -m benchmarks`)."""
