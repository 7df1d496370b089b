# test_wires.py - each kind of wire carries what it must, and has the names, the sizes and the
# addresses that the plan says.
