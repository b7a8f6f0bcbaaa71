"""From `spec.datasets` to the manifest: every picture counted once, sized, cropped and captioned."""
