"""A test card: what ``lb demo live`` and the examples publish. Needs PyAV with x264, an encoder of H.264.

It imports nothing of the demo, so that a publisher that was killed is back at once.
"""
