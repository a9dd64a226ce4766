"""Image data: sources, the split, the tensor on the device, batches, augmentation, the feature cache."""
