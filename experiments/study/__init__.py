"""Studies: several runs that make one table, trained, evaluated and collected by one command."""
