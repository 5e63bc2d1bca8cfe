"""Image data sets: CIFAR-10, digits, own images."""
