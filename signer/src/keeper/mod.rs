//! The process that holds the key and the sessions.
