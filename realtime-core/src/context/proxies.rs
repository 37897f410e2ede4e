//! The client's address behind proxies.

use ipnet::IpNet;
use std::{borrow::Cow, net::IpAddr};

/// The header in which the [trusted proxies](crate::Config::trusted_proxies) report their caller's address.
///
/// A proxy writes one of them and passes on the other as the client sent it, so only the configured one is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`, which most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Returns the client's address: the socket's own, or the one reported by trusted proxies.
///
/// Each proxy appends the address of its caller on the right, so the search starts there and ends at the first address
/// that is not a trusted proxy: that address may have invented everything to its left. An entry without an address ends
/// it too, at the last proxy named.
pub(crate) fn client_ip<'a, H>(
    peer: Option<IpAddr>,
    headers: H,
    trusted: &[IpNet],
    header: ForwardingHeader,
) -> Option<IpAddr>
where
    H: Iterator<Item = (&'a str, &'a [u8])>,
{
    let peer = peer?.to_canonical();
    if !is_trusted(peer, trusted) {
        return Some(peer);
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match header {
        ForwardingHeader::XForwardedFor => ("x-forwarded-for", node),
        ForwardingHeader::Forwarded => ("forwarded", forwarded_for),
    };
    let lines = headers.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    let lines: Vec<_> = lines.map(|(_, value)| value).collect();
    Some(walk(peer, &lines, trusted, read))
}

/// The headers to which proxies add their caller.
pub(crate) const FORWARDING: [&str; 3] = ["x-forwarded-for", "forwarded", "x-real-ip"];

/// Walks the elements of all lines from the right.
fn walk(peer: IpAddr, lines: &[&[u8]], trusted: &[IpNet], read: impl Fn(&str) -> Option<IpAddr>) -> IpAddr {
    let mut client = peer;
    for element in lines.iter().rev().flat_map(|line| Elements(Some(line))) {
        let text = std::str::from_utf8(element).map(|text| text.trim_matches(BLANK));
        let Some(address) = text.ok().and_then(&read) else { return client };
        client = address;
        if !is_trusted(client, trusted) {
            return client;
        }
    }
    client
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| match (address, network) {
        // A network may be written in the mapped form too.
        (IpAddr::V4(address), IpNet::V6(network)) if network.prefix_len() >= MAPPED_BITS => {
            network.contains(&address.to_ipv6_mapped())
        }
        _ => network.contains(&address),
    })
}

/// The prefix of all IPv4 addresses in IPv6, `::ffff:0:0/96`.
const MAPPED_BITS: u8 = 96;

const BLANK: [char; 2] = [' ', '\t'];

/// The elements of a comma-separated list, from the right. So the end of the line, which a proxy wrote, is parsed
/// correctly even if the client left a quote open before it.
struct Elements<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let mut quoted = false;
        for at in (0..rest.len()).rev() {
            match rest[at] {
                b'"' => quoted ^= !(quoted && is_escaped(rest, at)),
                b',' if !quoted => {
                    self.0 = Some(&rest[..at]);
                    return Some(&rest[at + 1..]);
                }
                _ => {}
            }
        }
        self.0.take()
    }
}

fn is_escaped(bytes: &[u8], at: usize) -> bool {
    bytes[..at].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// Returns the address in `for=` of one element of `Forwarded` (RFC 7239, section 4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut rest = element;
    let mut found = None;
    loop {
        let (name, value) = rest.split_once('=')?;
        let (value, after) = split_value(value)?;
        if name.trim_matches(BLANK).eq_ignore_ascii_case("for") && found.replace(node(&value)?).is_some() {
            return None;
        }
        rest = match after {
            Some(after) => after,
            None => return found,
        };
    }
}

/// Splits off a parameter's value, without its quotes; returns the text behind its semicolon too.
fn split_value(text: &str) -> Option<(Cow<'_, str>, Option<&str>)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_once(';').map_or((text, None), |(value, after)| (value, Some(after)));
        let value = value.trim_end_matches(BLANK);
        return (!value.is_empty() && !value.contains(['"', ' ', '\t'])).then_some((value.into(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    loop {
        match chars.next()? {
            (_, '\\') => value.push(chars.next()?.1),
            (end, '"') => {
                let after = quoted[end + 1..].trim_start_matches(BLANK);
                let behind = after.strip_prefix(';');
                return (after.is_empty() || behind.is_some()).then_some((value.into(), behind));
            }
            (_, char) => value.push(char),
        }
    }
}

/// Parses an address, with or without brackets and a port. IPv4-mapped addresses become IPv4.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            let valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(address.parse().ok().filter(|_| valid)?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) && address.contains('.') => IpAddr::V4(address.parse().ok()?),
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

/// Returns true for a port number, or an obfuscated one (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match text.strip_prefix('_') {
        Some(word) => !word.is_empty() && word.bytes().all(hidden),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROXY: &str = "10.0.0.1";
    const CLIENT: &str = "203.0.113.7";
    const BOTH: [(ForwardingHeader, &str); 2] =
        [(ForwardingHeader::XForwardedFor, "x-forwarded-for"), (ForwardingHeader::Forwarded, "forwarded")];

    /// The client's address where 10.0.0.0/8 and 2001:db8:aaaa::/48 are trusted, in the header of most.
    fn client(peer: &str, headers: &[(&str, &str)]) -> String {
        client_by(ForwardingHeader::default(), peer, headers)
    }

    fn client_by(header: ForwardingHeader, peer: &str, headers: &[(&str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8:aaaa::/48"].map(|network| network.parse().unwrap());
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        client_ip(Some(peer.parse().unwrap()), headers, &trusted, header).unwrap().to_string()
    }

    fn forwarded(value: &str) -> String {
        forwarded_lines(&[("forwarded", value)])
    }

    fn forwarded_lines(headers: &[(&str, &str)]) -> String {
        client_by(ForwardingHeader::Forwarded, PROXY, headers)
    }

    fn x_forwarded_for(value: &str) -> String {
        client(PROXY, &[("x-forwarded-for", value)])
    }

    #[test]
    fn headers_of_a_peer_that_is_not_trusted_say_nothing() {
        for (header, name) in BOTH {
            for value in ["for=10.0.0.9", "10.0.0.9", "1.2.3.4", "for=1.2.3.4"] {
                assert_eq!(client_by(header, CLIENT, &[(name, value)]), CLIENT, "{name}: {value}");
            }
        }
    }

    #[test]
    fn without_trusted_proxies_the_peer_is_the_client() {
        let headers = || [("x-forwarded-for", "1.2.3.4".as_bytes())].into_iter();
        let client = |peer, trusted: &[IpNet]| client_ip(peer, headers(), trusted, ForwardingHeader::default());
        assert_eq!(client(PROXY.parse().ok(), &[]), PROXY.parse().ok());
        assert_eq!(client(None, &["0.0.0.0/0".parse().unwrap()]), None);
    }

    #[test]
    fn the_first_from_the_right_that_is_not_trusted_is_the_client() {
        assert_eq!(x_forwarded_for("203.0.113.7"), CLIENT);
        assert_eq!(x_forwarded_for("1.2.3.4, 10.9.9.9, 203.0.113.7 ,\t10.0.0.3, 10.0.0.2"), CLIENT);
        assert_eq!(forwarded("for=1.2.3.4, for=203.0.113.7;proto=https, for=10.0.0.2"), CLIENT);
    }

    #[test]
    fn where_all_are_trusted_the_farthest_is_the_client() {
        assert_eq!(x_forwarded_for("10.0.0.3, 10.0.0.2"), "10.0.0.3");
        assert_eq!(forwarded("for=10.0.0.3"), "10.0.0.3");
    }

    #[test]
    fn without_headers_the_proxy_is_the_client() {
        assert_eq!(client(PROXY, &[("host", "1.2.3.4")]), PROXY);
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk() {
        for bad in
            ["", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "1.2.3.4:", "1.2.3.4:x", "[::1", "[::1]x", "a.b:80"]
        {
            assert_eq!(x_forwarded_for(&format!("1.2.3.4, {bad}")), PROXY, "{bad}");
            assert_eq!(x_forwarded_for(&format!("1.2.3.4, {bad}, 10.0.0.2")), "10.0.0.2", "{bad}");
            assert_eq!(forwarded(&format!("for=1.2.3.4, for=\"{bad}\"")), PROXY, "{bad}");
            assert_eq!(forwarded(&format!("for=1.2.3.4, for={bad}, for=10.0.0.2")), "10.0.0.2", "{bad}");
        }
    }

    #[test]
    fn an_element_of_forwarded_has_one_for() {
        for bad in ["proto=https", "for", "for=", "for=1.1.1.1;for=1.1.1.1", "for=1.1.1.1;", "for=\"1.1.1.1", "=;"]
        {
            assert_eq!(forwarded(&format!("for=1.2.3.4, {bad}")), PROXY, "{bad}");
        }
    }

    #[test]
    fn addresses_come_with_ports_quotes_and_brackets() {
        for value in ["203.0.113.7", "203.0.113.7:4711", "[::ffff:203.0.113.7]:4711", "::ffff:203.0.113.7"] {
            assert_eq!(x_forwarded_for(value), CLIENT, "{value}");
            assert_eq!(forwarded(&format!("for=\"{value}\"")), CLIENT, "{value}");
        }
        for value in ["2001:db8::7", "[2001:db8::7]", "[2001:DB8:0::7]:4711"] {
            assert_eq!(x_forwarded_for(value), "2001:db8::7", "{value}");
            assert_eq!(forwarded(&format!("For=\"{value}\"; proto=https")), "2001:db8::7", "{value}");
        }
        assert_eq!(forwarded("by=_x;FOR=\"203.0.113.7:_port\" ;host=\"a,\\\"b;for=1.2.3.4\""), CLIENT);
        assert_eq!(forwarded("for=\"203.0.113.\\7\""), CLIENT);
    }

    #[test]
    fn many_headers_are_one_list() {
        let headers =
            [("x-forwarded-for", "1.2.3.4"), ("X-Forwarded-For", "203.0.113.7"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(client(PROXY, &headers), CLIENT);
        let many = vec![("forwarded", "for=10.0.0.5, for=10.0.0.4"); 1000];
        assert_eq!(forwarded_lines(&many), "10.0.0.5");
    }

    #[test]
    fn a_quote_that_the_client_leaves_open_hides_no_entry() {
        for spoof in ["for=\"1.2.3.4", "for=1.2.3.4;host=\"", "for=1.2.3.4, for=\"10.0.0.2\\", "\"\"\""] {
            assert_eq!(forwarded(&format!("{spoof}, for=203.0.113.7")), CLIENT, "{spoof}");
            assert_eq!(forwarded(&format!("{spoof}, for=\"203.0.113.7\";host=\"x\"")), CLIENT, "{spoof}");
            let lines = [("forwarded", spoof), ("forwarded", "for=203.0.113.7")];
            assert_eq!(forwarded_lines(&lines), CLIENT, "{spoof}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_end_the_walk() {
        let read = |value: &[u8]| {
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            let headers = [("x-forwarded-for", value)].into_iter();
            client_ip(PROXY.parse().ok(), headers, &trusted, ForwardingHeader::default()).unwrap().to_string()
        };
        assert_eq!(read(b"1.2.3.4, \xff"), PROXY);
        assert_eq!(read(b"1.2.3.4, \xff, 203.0.113.7"), CLIENT);
        assert_eq!(read(b"1.2.3.4, \xff5.6.7.8, 10.0.0.2"), "10.0.0.2");
    }

    /// A proxy hands on the other header as the client has sent it.
    #[test]
    fn only_the_header_that_is_named_is_read() {
        let both = [("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "1.2.3.4")];
        assert_eq!(client_by(ForwardingHeader::Forwarded, PROXY, &both), CLIENT);
        assert_eq!(client_by(ForwardingHeader::XForwardedFor, PROXY, &both), "1.2.3.4");
        assert_eq!(client_by(ForwardingHeader::Forwarded, PROXY, &both[1..]), PROXY);
        assert_eq!(client_by(ForwardingHeader::XForwardedFor, PROXY, &both[..1]), PROXY);
    }

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "203.0.113.7")]), CLIENT);
        assert_eq!(client("::ffff:203.0.113.7", &[]), CLIENT);
        let trusts = |network: &str| is_trusted(PROXY.parse().unwrap(), &[network.parse().unwrap()]);
        assert!(trusts("::ffff:10.0.0.0/104"));
        assert!(!trusts("::ffff:11.0.0.0/104"));
        assert!(!trusts("::/0"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The proxy's entry counts, whatever the client has sent before it.
        #[test]
        fn what_the_client_sends_is_not_believed(sent in "([ -~]{0,20}|for=1\\.2\\.3\\.4|[\",;\\\\=]){0,6}") {
            prop_assert_eq!(x_forwarded_for(&format!("{sent},203.0.113.7")), CLIENT);
            prop_assert_eq!(forwarded(&format!("{sent},for=203.0.113.7")), CLIENT);
            prop_assert_eq!(forwarded(&format!("{sent}, for=\"203.0.113.7:80\";by=\"[::1]\"")), CLIENT);
        }
    }
}
