"""Studies, the command line, reports. Start at `search.cli.app`; one trial's way is `search.runner.trial.run_trial`."""
