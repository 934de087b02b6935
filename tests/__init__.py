"""A package, since among the libraries that others install is one whose own tests are the package `tests`."""
