//! Tables in named collections, one file a subject; `vectors` are those of others, `properties` hold for all input.

mod address;
mod authority;
mod client_hello;
mod documented;
mod hosts;
mod path;
mod paths;
mod properties;
mod score;
mod vectors;
