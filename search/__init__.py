"""Studies, the command line, reports. Start at `search.cli`; one trial's way is `search.trial.run_trial`."""
