# test_hooks.py - what a hook is given: file descriptors, environment, argv, signals, namespace, time; and
# what its failure does.
