"""The sections of a report, one file each; a new file here is found without being listed anywhere."""
