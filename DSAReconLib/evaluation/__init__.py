"""How good a result is: numbers from images, volumes, surfaces, topology and time, and the report."""
