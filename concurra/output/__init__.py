"""How what tasks print is shown where this program prints."""
