//! Passwords in the clear, as alerts: who may act on them reads alerts and not lists of hosts.
//!
//! What counts as one is the inventory's to say (a password was sent, not only asked for; anonymous logins are none), which
//! keeps it as a finding about the server too. The user is named, the password never leaves inspection.

use super::observation::{Cleartext, Observation};
use crate::control::inventory::network::Network;
use crate::dataplane::detect::{Detector, Evidence, Term};

/// To a server of ours: who reads it is in the network already.
const SEVERITY_INSIDE: u8 = 3;
/// To somebody else's: everybody on the way can.
const SEVERITY_OUTSIDE: u8 = 2;

/// A login.
pub fn observe(seen: &Observation, login: &Cleartext, home: &[Network], out: &mut Vec<Evidence>) {
    let (client, server) = (login.client.ip(), login.server.ip());
    let is_inside = [client, server].iter().all(|end| home.iter().any(|network| network.holds(*end)));
    out.push(Evidence {
        severity: if is_inside { SEVERITY_INSIDE } else { SEVERITY_OUTSIDE },
        confidence: 1.0,
        source: Some(client),
        target: Some(server),
        port: Some(login.server.port),
        summary: format!("{} to {server} port {}", login.sentence, login.server.port),
        terms: vec![Term::exact("leaves_the_network", f64::from(u8::from(!is_inside)))],
        technique: Some("T1552".into()),
        flow: seen.origin.flow(false),
        // A closed list, as the inventory names methods.
        ..seen.evidence(Detector::Cleartext, login.how.to_ascii_lowercase().replace(' ', "_"))
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Wire, host, outside};
    use crate::dataplane::inspect::{Facts, Protocol, ftp, http, pop3, telnet};
    use crate::units::SECOND;

    type Put = fn(&mut Facts);

    #[test]
    fn passwords_are_told_with_the_user_and_never_more() {
        let basic: Put = |facts| {
            facts.put(http::AUTH_SCHEME, b"Basic");
            facts.put(http::USERNAME, b"anna");
            facts.put_number(http::STATUS, 200);
        };
        let login: Put = |facts| {
            facts.put(ftp::USERNAME, b"anna");
            facts.put_number(ftp::CODE, 331);
            facts.put_number(ftp::CODE, 230);
        };
        let prompt: Put = |facts| {
            facts.put(telnet::USERNAME, b"anna");
            facts.put_number(telnet::SECRET_SENT, 1);
        };
        for (protocol, port, put, kind) in [
            (Protocol::Http, 80, basic, "http_basic"),
            (Protocol::Ftp, 21, login, "ftp"),
            (Protocol::Telnet, 23, prompt, "telnet"),
        ] {
            for (server, severity) in [(host(2), 3), (outside(2), 2)] {
                let mut wire = Wire::default();
                wire.event(SECOND, (host(1), server, port), (protocol, 6), put);
                let found = wire.evidence();
                assert_eq!(wire.kinds(), [format!("cleartext_credentials/{kind}")]);
                assert_eq!((found[0].severity, found[0].port), (severity, Some(port)));
                assert!(found[0].summary.contains("anna"), "{}", found[0].summary);
            }
        }
    }

    #[test]
    fn what_is_no_password_is_quiet() {
        let anonymous: Put = |facts| {
            facts.put(ftp::USERNAME, b"anonymous");
            facts.put_number(ftp::CODE, 331);
            facts.put_number(ftp::CODE, 230);
        };
        let asked: Put = |facts| {
            facts.put(ftp::USERNAME, b"anna");
            facts.put_number(ftp::CODE, 331);
        };
        let token: Put = |facts| {
            facts.put(http::AUTH_SCHEME, b"Bearer");
            facts.put_number(http::STATUS, 200);
        };
        let digest: Put = |facts| {
            facts.put(pop3::COMMAND, b"APOP");
            facts.put(pop3::USERNAME, b"anna");
        };
        for (protocol, put) in [
            (Protocol::Ftp, anonymous),
            (Protocol::Ftp, asked),
            (Protocol::Http, token),
            (Protocol::Pop3, digest),
            (Protocol::Tls, token),
        ] {
            let mut wire = Wire::default();
            wire.event(SECOND, (host(1), host(2), 80), (protocol, 6), put);
            assert_eq!(wire.evidence(), [], "{protocol:?}");
        }
    }
}
