//! `shrike demo`: the whole path, from the wire to an explained alert, on one machine with one command.
//!
//! Makes a [`lab`] of namespaces without a route out, runs `shrike run` on its tap, lets real servers, clients and
//! attackers loose, shows what is found as it is found, and judges itself by one [`verdict`]. It looks at the running
//! program only through the HTTP API, as anyone would. It deliberately has no part in capture or detection: nothing here
//! tells the detectors what is about to happen.

pub mod attackers;
pub mod clients;
pub mod error;
pub mod lab;
pub mod program;
pub mod services;
pub mod verdict;
