//! The plan for one resource of one device, and the beat of each sink.
