//! `exeat signer` and `exeat run`: the real daemon with its two processes, its control socket, and a gateway that verifies what
//! arrives.

#![cfg(test)]

mod access;
mod api;

mod key;
mod operation;
mod run;
mod stage;
