"""Background processes: trainings, dataset builds and other long tasks."""
