"""Clinical 4D-DSA: a static constraint volume modulated by the views."""
