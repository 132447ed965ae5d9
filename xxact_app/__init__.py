"""The app: what the user chose (session), what follows from it (store), how it looks (views), one page (shell)."""
