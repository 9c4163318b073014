//! `exeat policy` on whole folders: what it says of wrong ones, the schemas of right ones, and what never matters.

#![cfg(test)]

mod command;
mod errors;
mod independence;
mod schema;
