"""The client of RunService: `kubetuner.connect` for asyncio, `kubetuner.connect_sync` for everything else."""
