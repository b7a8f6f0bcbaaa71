"""What a run may contain and what it says: reading, checking, defaults, fingerprint form, and import from SimpleTuner. No torch."""
