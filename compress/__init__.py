"""From the base network to a `.tflite`: load data, prune, train, quantize, convert; see README.md beside this file.

Import the modules themselves (`compress.spec`, `compress.prune`, ...). Some of them load TensorFlow, which takes
seconds, and the others must not.
"""
