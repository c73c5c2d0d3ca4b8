//! What devices ask of the gateway: properties, buckets, endpoints, calls of other devices, events
//! and topics.
