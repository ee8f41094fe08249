"""Activations of other networks, written into stores: which model, which of its layers, over which data."""
