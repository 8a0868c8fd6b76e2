"""The simulated world: virtual time, faulty disks, network and object store, nemesis, checkers. One seed runs it."""
