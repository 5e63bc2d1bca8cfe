"""From the base network to a `.tflite`: data, prune, train, quantize, convert.

Import the modules themselves (`compress.spec`, `compress.prune`, ...): some of them load TensorFlow, which takes
seconds, and the others must not.
"""
