//! What a request carries: its size and its digest over the bytes the filter received.
