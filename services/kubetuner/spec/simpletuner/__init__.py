"""A SimpleTuner set-up (config.json and its data backends) as a TrainingRun.

    convert.py    import_config: the whole
    source.py     reads the files; every key is taken, settled or refused once
    training.py   config.json's keys for model, caches and training
    evaluation.py config.json's keys for evaluation
    datasets.py   the data backends' entries
    tables.py     keys with no field of ours: at which value nothing is lost, and why not otherwise

Written from a description of its options and their defaults. Where its default differs from ours, the run says its value, so that it
behaves as it did there.
"""

from kubetuner.spec.simpletuner.convert import Imported, import_config
from kubetuner.spec.simpletuner.source import NotCarried

__all__ = ["Imported", "NotCarried", "import_config"]
