"""placeholder"""
def compare():
    return {}
