"""The distributed system for tests: every role a real process, over servers that the test has."""
