"""Runs one model: TensorFlow Lite or ONNX, and the pixels it takes."""
