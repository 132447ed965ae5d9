"""Known phases and a measured pattern → refined cells, weight fractions and files for other programs; indexing."""
