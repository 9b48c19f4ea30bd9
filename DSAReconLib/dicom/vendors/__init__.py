"""Private attributes of manufacturers, one file each."""
