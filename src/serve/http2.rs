//! HTTP/2 as the Flight server speaks it: every limit set, since tonic leaves some of hyper's own defaults out.
//!
//! Contract: what one connection may hold is bounded: streams, header bytes, unread request bytes, streams it resets. The windows are those
//! of what clients *send*, which is small; what they receive is bounded by windows of their own.

use std::time::Duration;
use tonic::transport::Server;

/// Of one request's headers, decoded (RFC 9113, section 6.5.2). Tokens and client metadata fit well.
pub const HEADER_LIST_BYTES: u32 = 16 << 10;
/// The largest frame a client may send: the least that HTTP/2 allows.
const FRAME_BYTES: u32 = 16 << 10;
/// Unread bytes of one request, and of all requests of a connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// A silent peer is asked after this long, and gone when it does not answer.
pub const PING_AFTER: Duration = Duration::from_secs(20);
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a client opened and reset before the server looked at them; more close the connection (CVE-2023-44487).
const RESETS_BY_PEER: usize = 20;
/// Streams that the server reset because the client broke the protocol; more close the connection.
const RESETS_BY_ERROR: usize = 256;

/// Sets the limits. `streams` are those one connection may have open at once.
pub fn http2<L>(builder: Server<L>, streams: u32) -> Server<L> {
    limited(builder, streams, PING_AFTER, PING_TIMEOUT)
}

pub(super) fn limited<L>(builder: Server<L>, streams: u32, ping_after: Duration, ping_timeout: Duration) -> Server<L> {
    builder
        .accept_http1(false)
        .max_concurrent_streams(streams.max(1))
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_adaptive_window(Some(false))
        .http2_keepalive_interval(Some(ping_after))
        .http2_keepalive_timeout(Some(ping_timeout))
        .http2_max_pending_accept_reset_streams(Some(RESETS_BY_PEER))
        .http2_max_local_error_reset_streams(Some(RESETS_BY_ERROR))
}
