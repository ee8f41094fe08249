"""`ae-lightning lab`: which dictionary recovers the truth of a known world."""
