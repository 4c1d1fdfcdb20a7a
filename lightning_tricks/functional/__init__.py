"""Pure tensor and number functions, one file a trick; nothing here imports Lightning."""
