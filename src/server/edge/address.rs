//! Where a request comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, Request};
use tonic::transport::server::TcpConnectInfo;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client: what the outermost of so many trusted proxies
/// wrote, else the peer. Entries further to the left are anybody's word.
pub fn of_client<B>(request: &Request<B>, trusted_proxies: usize) -> IpAddr {
    let peer = peer(request).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    forwarded(request.headers(), trusted_proxies).unwrap_or(peer).to_canonical()
}

/// The other end of the connection.
fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    request.extensions().get::<TcpConnectInfo>()?.remote_addr()
}

/// Whether the connection came in over this machine's loopback.
pub fn over_loopback<B>(request: &Request<B>) -> bool {
    let local = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::local_addr);
    local.is_some_and(|address| address.ip().to_canonical().is_loopback())
}

/// Each proxy appends the address it was called from, so the one that counts is
/// so many from the right; the leftmost when there are fewer.
fn forwarded(headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
    let mut left = trusted_proxies;
    let mut found = None;
    for value in headers.get_all(FORWARDED_FOR).iter().rev() {
        for entry in value.to_str().unwrap_or_default().rsplit(',') {
            if left == 0 {
                return found;
            }
            found = parse(entry.trim());
            left -= 1;
        }
    }
    found
}

/// An address; some proxies add the port.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse().ok().map(|address: SocketAddr| address.ip()))
}

/// The network that one household or machine has for itself: an IPv4 address,
/// the upper 64 bits of an IPv6 one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str], trusted_proxies: usize) -> Option<String> {
        let name = axum::http::HeaderName::from_static(FORWARDED_FOR);
        let headers = lines.iter().map(|line| (name.clone(), line.parse().unwrap())).collect();
        forwarded(&headers, trusted_proxies).map(|address| address.to_string())
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        let lines = ["6.6.6.6, 198.51.100.7", "10.0.0.2"];
        assert_eq!(found(&lines, 0), None);
        assert_eq!(found(&lines, 1).as_deref(), Some("10.0.0.2"));
        assert_eq!(found(&lines, 2).as_deref(), Some("198.51.100.7"));
        assert_eq!(found(&lines, 9).as_deref(), Some("6.6.6.6"));
        assert_eq!(found(&[], 2), None);
    }

    #[test]
    fn ports_and_brackets_are_left_out_and_words_are_no_addresses() {
        assert_eq!(found(&["198.51.100.7:4711"], 1).as_deref(), Some("198.51.100.7"));
        assert_eq!(found(&["[2001:db8::1]:4711"], 1).as_deref(), Some("2001:db8::1"));
        assert_eq!(found(&["[2001:db8::1]"], 1).as_deref(), Some("2001:db8::1"));
        assert_eq!(found(&["unknown"], 1), None);
    }

    #[test]
    fn a_network_is_an_address_or_64_bits() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("198.51.100.7"), "198.51.100.7");
        assert_eq!(of("::ffff:198.51.100.7"), "198.51.100.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
