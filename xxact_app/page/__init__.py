"""The page around the screens: tabs, file upload, header, keyboard, session files."""
