"""From trained networks to a `.tflite`, converted in a process of its own and checked."""
