"""The work of train, without a server around it."""
