"""The command line: options, help texts and printing."""
