"""The demo: a web shop on a local mesh, one whole upgrade, and a look at everything it promised."""
