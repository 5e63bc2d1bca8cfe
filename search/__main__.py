"""`python -m search` is `thrones`."""

from search.cli.app import main

if __name__ == "__main__":
    main()
