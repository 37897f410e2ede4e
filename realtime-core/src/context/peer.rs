use std::net::{IpAddr, Ipv6Addr};

/// The part of a client's address that it cannot change at will: all of IPv4, the /64 of IPv6.
///
/// Every limit per peer (connections, rates, idempotent calls) counts these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer(IpAddr);

/// The meaning of a private address: loopback, RFC 1918, 100.64.0.0/10 (RFC 6598), link-local, and unique local
/// addresses of IPv6 (RFC 4193).
///
/// The limits per address (those listed in [`Config::private_peers`](crate::Config::private_peers)) cannot tell a proxy
/// from a client. No client on the internet has such an address, so they skip private addresses by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrivatePeers {
    /// Many clients: a proxy, a container's bridge, a NAT, or a test.
    #[default]
    Many,
    /// One client, limited like any other address: for servers whose clients are in a private network.
    One,
}

impl PrivatePeers {
    /// Returns the peer, if it is limited as one client.
    pub(crate) fn one_client(self, peer: Option<Peer>) -> Option<Peer> {
        peer.filter(|peer| self == Self::One || !peer.is_private())
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                Ipv6Addr::from_bits(address.to_bits() & NETWORK).into()
            }
            whole => whole,
        })
    }
}

impl Peer {
    fn is_private(self) -> bool {
        match self.0 {
            IpAddr::V4(address) => {
                let [first, second, ..] = address.octets();
                let is_shared = first == 100 && second & 0xc0 == 64;
                address.is_loopback() || address.is_private() || address.is_link_local() || is_shared
            }
            IpAddr::V6(address) => {
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
            }
        }
    }
}

const NETWORK: u128 = !(u64::MAX as u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        let peer = |address: &str| Peer::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("10.0.0.1"), peer("::ffff:10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    }

    #[test]
    fn no_address_of_the_internet_is_private() {
        let is_private = |address: &str| Peer::from(address.parse::<IpAddr>().unwrap()).is_private();
        for private in [
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.0",
            "192.168.255.255",
            "169.254.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "::1",
            "fc00::1",
            "fdff:ffff::1",
            "fe80::1",
            "febf:ffff::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_private(private), "{private}");
        }
        for public in [
            "126.255.255.255",
            "128.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "0.0.0.0",
            "203.0.113.7",
            "::",
            "::2",
            "2001:db8::1",
            "fbff::1",
            "fe00::1",
            "fe7f::1",
            "fec0::1",
            "ff02::1",
            "::ffff:203.0.113.7",
            "64:ff9b::10.0.0.1",
        ] {
            assert!(!is_private(public), "{public}");
        }
    }
}
