"""Start the app: `panel serve app.py`."""

from xxact_app.serving import serve

serve()
