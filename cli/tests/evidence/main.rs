//! Evidence end to end: a gateway's journal, the real collector, the real auditor.
#![forbid(unsafe_code)]

#[cfg(test)]
mod audit;
#[cfg(test)]
mod beyond;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod collect;
#[cfg(test)]
mod erase;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod ingest;
#[cfg(test)]
mod list;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod splice;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tamper;
