"""The work of embed, without a server around it."""
