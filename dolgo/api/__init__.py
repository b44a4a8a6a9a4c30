"""The web over the manager: see `app.py`."""
