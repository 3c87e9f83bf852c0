"""What the layers compute with JAX on a CPU, where XLA's own way is slow."""
