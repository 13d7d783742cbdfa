"""What makes the live revision follow the files: publish by compare-and-set, wait until gateways took it.

Called by the command line. Talks to the store and to nothing else; what files say has been compiled.
"""
