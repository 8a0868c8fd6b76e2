"""The assembly: which parts a server has and how they are wired, on ports only. `serve --dev` and the simulator start this same code; they differ in the ports."""
