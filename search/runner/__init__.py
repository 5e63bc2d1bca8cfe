"""Runs studies: trials one after the other, workers, final training and final comparison."""
