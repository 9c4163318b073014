//! The process that faces the agents.
