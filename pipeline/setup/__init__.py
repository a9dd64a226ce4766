"""What a training needs before it starts: a device, images on it, and proof that all is there."""
