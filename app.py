"""Start the app: `panel serve app.py`."""

from xxact_app.server.start import serve

serve()
