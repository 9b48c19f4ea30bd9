"""Gaussian splatting with a temporal opacity offset."""
