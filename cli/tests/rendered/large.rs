//! How policies of different sizes get to a gateway.
