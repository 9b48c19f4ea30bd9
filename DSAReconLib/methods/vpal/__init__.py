"""Vessel probability guided attenuation learning."""
