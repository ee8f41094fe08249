"""`ae-lightning sweep`: many fits that differ in a few settings and seeds."""
