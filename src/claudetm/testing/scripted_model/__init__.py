"""A model that plays a scenario behind a loopback Messages API: the real SDK and the real CLI run their real tools.

What it answers follows from the request alone, so a killed run that is resumed gets the same answers.
"""
