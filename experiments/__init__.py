"""Mains of a few lines over `fcn_keras.commands`, the benchmark and the studies."""
