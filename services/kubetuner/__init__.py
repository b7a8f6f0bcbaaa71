"""KubeTuner: fine-tuning of Stable Diffusion XL as services on Kubernetes, or in one process on a laptop.

kubetuner.connect(address, token=...)        client of a controller, for asyncio
kubetuner.connect_sync(address, token=...)   the same without asyncio
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubetuner.client.blocking import SyncClient, connect_sync
    from kubetuner.client.client import Client, connect

__version__ = "0.1.0"
__all__ = ["Client", "SyncClient", "__version__", "connect", "connect_sync"]
_WHERE = {"Client": "client", "connect": "client", "SyncClient": "blocking", "connect_sync": "blocking"}


def __getattr__(name: str) -> Any:
    """The client, loaded when it is first asked for: whoever only trains needs no gRPC."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.client.{_WHERE[name]}"), name)
