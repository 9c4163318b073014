//! The alerts and the dashboard of docs/monitoring: a real Prometheus reads a real gateway, relay and collector, and every
//! expression finds what it speaks of.

#![cfg(test)]

mod alerts;
mod dashboard;
mod expression;
mod prometheus;
mod scene;
