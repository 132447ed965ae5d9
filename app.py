"""Start the app: `panel serve app.py`."""

from xxact_app.shell import serve

serve()
