"""optuna-dashboard on a study, with notes and charts."""
