"""`python -m plm` is `plm`."""

from plm.cli import main

main()
