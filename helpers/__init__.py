"""Model construction and comparison for the three lessons on deploying Keras models.

The modules form one line, and each imports only from modules to its left:

``digits -> models -> runtimes -> parity -> latency, cold_start, size -> scorecard -> plots``

Import the module that you need (``from helpers import parity``). This file imports none of them,
so that opening an ONNX file never loads TensorFlow.
"""
