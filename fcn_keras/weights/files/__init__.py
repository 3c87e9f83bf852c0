"""Readers of torch, safetensors and HDF5 files, which never run what a file says."""
