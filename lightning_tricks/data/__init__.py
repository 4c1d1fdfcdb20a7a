"""Data modules: the digits, CIFAR and folders of images."""
