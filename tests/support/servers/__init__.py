"""Real servers for tests: private ones to kill, and shared ones of a whole test run with a fresh part for each test."""
