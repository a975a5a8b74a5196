"""`python -m realm.cli` is the `realm` command; services are started this way, from the interpreter that runs the weaver."""

from realm.cli import main

main()
