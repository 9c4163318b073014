//! What `exeat render` writes for clusters and machines, run as it is written: the commands of its containers and units, on the
//! configuration beside them, from the policy to a request that is judged and stored.

#![cfg(test)]

mod image;
mod kubernetes;
mod materials;
mod place;
mod systemd;
