"""Feldkamp-Davis-Kress: static filtered backprojection."""
