"""Pure functions on arrays: spectra of weights, linear probes of codes, and the baselines to compare with."""
