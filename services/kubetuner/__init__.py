"""KubeTuner: fine-tuning of Stable Diffusion XL as services on Kubernetes, or in one process on a laptop."""

__version__ = "0.1.0"
