"""The torture: hundreds of files, a server that does all that servers do wrong, and a gdl that is killed all the time.

``python -m tests.torture --minutes 60`` from the repository. A round has a world of its own, drawn from the seed:
the files, what the server does with each request of a file, when gdl is started, with which options, and when it is
killed. A round is over when a run ends by itself with nothing left to do; then every file must be one whole version.
"""
