//! Arguments, one file per subcommand, exit codes.

pub mod demo;
