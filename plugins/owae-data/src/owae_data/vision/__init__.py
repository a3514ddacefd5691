"""Sets that torchvision knows by name: those in plain binary files (`idx`, `binaries`) and those that its own classes read (`datasets`).

Start reading at `source.py`, the one component; `idx` and `binaries` serve the sources `mnist` and `svhn` too.
"""
