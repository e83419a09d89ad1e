//! What stands inside a security token (SPNEGO, RFC 4178; GSS-API, RFC 2743; or bare): an NTLM message or a Kerberos AP-REQ.
//!
//! The few bytes in front of either are searched, not read: their forms differ more than they matter, and both have a begin
//! that cannot be mistaken. A shared helper, no parser of a flow.

use super::facts::Facts;
use super::{kerberos, ntlm};

/// Kerberos' object identifier with the token id of an AP-REQ (RFC 4121 section 4.1).
const AP_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01, 0x00];

/// Reads what the token carries; false where it is neither.
pub fn read(token: &[u8], facts: &mut Facts) -> bool {
    if let Some(message) = ntlm::find(token) {
        return ntlm::read(message, facts);
    }
    let searched = token.get(..ntlm::SEARCH_MAX).unwrap_or(token);
    let Some(at) = searched.windows(AP_REQUEST.len()).position(|window| window == AP_REQUEST) else { return false };
    let message = token.get(at + AP_REQUEST.len()..).unwrap_or_default();
    message.first() == Some(&0x6e) && kerberos::read(message, facts).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_kind_is_found() {
        let mut facts = Facts::default();
        let token = [&[0x60, 0x82, 0x01, 0x00, 0x06, 0x09][..], AP_REQUEST, &kerberos::tests::ap_request()].concat();
        assert!(read(&token, &mut facts));
        assert_eq!(facts.get(kerberos::SERVICE), Some(&b"cifs/dc1.corp.example"[..]));
        let token = [&[0xa1, 0x20][..], &ntlm::tests::authenticate_message("D", "u", "w")].concat();
        assert!(read(&token, &mut facts));
        assert_eq!(facts.get(ntlm::USER), Some(&b"u"[..]));
        assert!(!read(&[0; 700], &mut facts));
    }
}
