//! What a flow must be to be of a family of attacks: a model that takes an RTP stream for a tunnel in DNS is wrong, however sure.
//!
//! A model sees sizes and times; which protocol a flow speaks is known. Pure; what is not known does not exclude.

use crate::dataplane::inspect::Protocol::{self, *};
use crate::dataplane::score::Family;
use crate::units::SECOND;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP6: u8 = 58;

/// What of a flow decides what it can carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spoken {
    /// IP protocol number.
    pub protocol: u8,
    /// The responder's port, 0 where there are none.
    pub port: u16,
    /// What it speaks, as far as inspection says.
    pub application: Protocol,
    /// From its first packet to the latest that was judged, nanoseconds; `None`: not known.
    pub held_ns: Option<u64>,
}

/// Least time for which a connection is held that is a slow client's. Health checks and requests that are turned down are over within
/// milliseconds, while the tools say a line every ten seconds or so and hold what they have for minutes (slowhttptest, slowloris). Too
/// long: the first rows of an attack are passed over, and later ones tell it; too short: each check of a load balancer is one.
///
/// It is what the family means, as its transport is, and no setting: how sure a model must be is set (`detect.model`). In 44 recordings of
/// the laboratory one second finds the same attacks with one false alert more, and ten lose three of them. Who holds connections for
/// less has to open each place twelve times a minute to keep it, which counts of floods and of slow connections (`detect.slow_http`) see.
pub const SLOW_HELD_NS: u64 = 5 * SECOND;

impl Spoken {
    /// Can it be of this family?
    pub fn carries(self, family: Family) -> bool {
        let is_tcp = self.protocol == TCP;
        let is_transport = is_tcp || self.protocol == UDP;
        match family {
            Family::Benign | Family::Unusual | Family::Scan | Family::Flood => true,
            Family::BruteForce => {
                is_tcp && !self.is_chatter() && !self.speaks(&[Dns, Stratum, BitTorrent])
                    || self.speaks(&[Kerberos, Ldap, Snmp, Radius, Sip])
            }
            Family::Amplification => self.protocol == UDP,
            Family::SlowHttp if self.held_ns.is_some_and(|held| held < SLOW_HELD_NS) => false,
            Family::SlowHttp => is_tcp && (self.is_unknown() || self.speaks(&[Http, Http2, WebSocket, Tls])),
            // RFC 1035, section 4.2.
            Family::DnsTunnel => self.speaks(&[Dns]) || self.is_unknown_at(&[53]),
            // The names are what tells them, and the network's claims; sizes and times of a flow have neither.
            Family::Dga | Family::ArpSpoofing => false,
            Family::IcmpTunnel => matches!(self.protocol, ICMP | ICMP6),
            // RFC 7858, RFC 8484, RFC 9250.
            Family::DohTunnel => self.speaks(&[Tls, Dtls, Quic, Http2]) || self.is_unknown_at(&[443, 853]),
            Family::Beacon | Family::Mining if is_tcp => !self.is_chatter(),
            Family::Beacon => is_transport && !self.is_chatter(),
            Family::Mining => false,
            Family::Exfiltration => !self.is_chatter(),
            Family::RogueService => self.speaks(&[Dhcp, Dns]) || self.is_unknown_at(&[53, 67, 68, 546, 547]),
            // RFC 4795, RFC 1002, RFC 6762.
            Family::NamePoisoning => self.speaks(&[Llmnr, Nbns, Mdns]) || self.is_unknown_at(&[137, 5353, 5355]),
            Family::LateralMovement => {
                let remote = [Ssh, Smb, DceRpc, Rdp, Ldap, Ntlm, Kerberos, Telnet, Proxied];
                // Windows Remote Management, MS-WSMV section 2.1.
                let is_management = matches!(self.port, 5985 | 5986) && self.speaks(&[Http, Tls]);
                is_tcp && (self.is_unknown() || self.speaks(&remote) || is_management)
            }
            Family::WebAttack => {
                is_transport && (self.speaks(&[Http, Http2, WebSocket, Tls, Quic]) || is_tcp && self.is_unknown())
            }
        }
    }

    /// Is it of hardly anything else? Echoes carry pings and tunnels, and what nobody knows is no service that many use: there one flow
    /// can be enough, where others need several.
    pub fn is_narrow(self, family: Family) -> bool {
        match family {
            Family::IcmpTunnel => self.carries(family),
            Family::Mining => self.carries(family) && (self.is_unknown() || self.speaks(&[Stratum])),
            _ => false,
        }
    }

    fn is_unknown(self) -> bool {
        self.application == Unknown
    }

    fn speaks(self, any: &[Protocol]) -> bool {
        any.contains(&self.application)
    }

    fn is_unknown_at(self, ports: &[u16]) -> bool {
        self.is_unknown() && matches!(self.protocol, TCP | UDP) && ports.contains(&self.port)
    }

    /// What hosts say to a link by themselves, or to keep the time.
    fn is_chatter(self) -> bool {
        self.speaks(&[Dhcp, Mdns, Llmnr, Nbns, Ntp, Ssdp])
            || self.protocol == UDP && self.is_unknown_at(&[67, 68, 123, 137, 546, 547, 1900, 5353, 5355])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a model says, a family is told of what can carry it, and of what inspection does not know.
    #[test]
    fn a_family_needs_its_carrier() {
        let cases: [(&str, Spoken, &[Family], &[Family]); 8] = [
            (
                "a stream of voice",
                Spoken { protocol: UDP, port: 5004, application: Rtp, held_ns: None },
                &[Family::Flood, Family::Exfiltration, Family::Unusual],
                &[Family::DnsTunnel, Family::IcmpTunnel, Family::SlowHttp, Family::Mining, Family::NamePoisoning],
            ),
            (
                "a ping",
                Spoken { protocol: ICMP, port: 0, application: Unknown, held_ns: None },
                &[Family::IcmpTunnel, Family::Scan, Family::Exfiltration],
                &[Family::Beacon, Family::DnsTunnel, Family::BruteForce, Family::Amplification, Family::WebAttack],
            ),
            (
                "a question for a name",
                Spoken { protocol: UDP, port: 53, application: Dns, held_ns: None },
                &[Family::DnsTunnel, Family::Amplification, Family::RogueService, Family::Beacon],
                &[
                    Family::Dga,
                    Family::IcmpTunnel,
                    Family::DohTunnel,
                    Family::SlowHttp,
                    Family::NamePoisoning,
                    Family::Mining,
                ],
            ),
            (
                "a page over TLS",
                Spoken { protocol: TCP, port: 443, application: Tls, held_ns: None },
                &[Family::DohTunnel, Family::Beacon, Family::WebAttack, Family::SlowHttp, Family::Mining],
                &[Family::DnsTunnel, Family::LateralMovement, Family::RogueService, Family::Amplification],
            ),
            (
                "the time",
                Spoken { protocol: UDP, port: 123, application: Ntp, held_ns: None },
                &[Family::Amplification, Family::Flood],
                &[Family::Beacon, Family::Exfiltration, Family::DnsTunnel, Family::Mining],
            ),
            (
                "remote management",
                Spoken { protocol: TCP, port: 5985, application: Http, held_ns: None },
                &[Family::LateralMovement, Family::BruteForce],
                &[Family::DohTunnel, Family::IcmpTunnel],
            ),
            (
                "TCP that nobody knows",
                Spoken { protocol: TCP, port: 4444, application: Unknown, held_ns: None },
                &[Family::Beacon, Family::LateralMovement, Family::Mining, Family::BruteForce, Family::Exfiltration],
                &[Family::DnsTunnel, Family::IcmpTunnel, Family::Amplification],
            ),
            (
                "a name asked on the link",
                Spoken { protocol: UDP, port: 5355, application: Llmnr, held_ns: None },
                &[Family::NamePoisoning],
                &[Family::Beacon, Family::Exfiltration, Family::DnsTunnel],
            ),
        ];
        for (what, carrier, carried, not) in cases {
            for family in carried {
                assert!(carrier.carries(*family), "{what}: {}", family.name());
            }
            for family in not {
                assert!(!carrier.carries(*family), "{what}: {}", family.name());
            }
        }
    }

    /// A check of a balancer's is over before it is slow.
    #[test]
    fn who_is_slow_holds_a_connection() {
        let page = |held_ns| Spoken { protocol: TCP, port: 80, application: Http, held_ns };
        let cases = [(Some(SECOND / 500), false), (Some(4 * SECOND), false), (Some(10 * SECOND), true), (None, true)];
        for (held, is_slow) in cases {
            assert_eq!(page(held).carries(Family::SlowHttp), is_slow, "{held:?}");
            assert!(page(held).carries(Family::WebAttack));
        }
    }
}
