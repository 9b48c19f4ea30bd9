"""DSARecon: from a rotational DSA acquisition to a 4D vessel volume."""

__version__ = "0.1.0"
