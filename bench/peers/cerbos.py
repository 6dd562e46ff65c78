"""placeholder"""


def compare():
    return {}
