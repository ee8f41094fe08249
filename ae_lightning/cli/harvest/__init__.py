"""`ae-lightning harvest`: its options, the list of layers, and how far it is."""
