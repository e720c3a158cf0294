"""What others write, aimed at what an agent may do: the platform holds whatever the model says (RELIABILITY.md, H1)."""
