//! Any other folder of files.
