"""The compose file for real: images built, containers started, looked into and killed."""
