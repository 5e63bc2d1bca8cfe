"""`python -m search` is `thrones`."""

from search.cli import main

if __name__ == "__main__":
    main()
