"""An image as it is stored: names, archives, layers, labels, sizes."""
