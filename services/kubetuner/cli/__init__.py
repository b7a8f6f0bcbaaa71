"""The command `kubetuner`."""
