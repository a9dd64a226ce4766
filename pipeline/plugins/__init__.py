"""Plug-ins: kinds from outside. `contract` is what their authors import; `loading` loads them."""
