"""The controller: TrainingRuns become Jobs, one a stage and attempt, and their status says how it goes."""
