# test_guests.py - guests and services: the fds and values they are given, where they run, ready,
# wait-for, restarts, and their end.
