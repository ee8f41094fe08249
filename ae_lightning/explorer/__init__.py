"""The explorer: a trained network as one HTML page that computes the network itself."""
