"""Studies, the command line, reports. Start at `search.cli.app`; `search.runner.trial.run_trial` runs one trial."""
