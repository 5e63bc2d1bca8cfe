"""Trains networks: fine-tuning, distillation, the unpruned base."""
