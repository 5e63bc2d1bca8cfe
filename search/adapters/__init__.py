"""What thrones uses of other libraries beyond their public API, each behind a function of its own.

A new release of one of them can break these files and no others. `tests/search/adapters` holds their contract.
"""
