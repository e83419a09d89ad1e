//! Type and code of ICMP in an event.

use serde::Serialize;

/// Of the first packet of either side, as far as it is ICMP.
#[derive(Serialize, Default)]
pub(super) struct IcmpPart {
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_icmp_code: Option<u8>,
}

impl IcmpPart {
    /// Type and code of originator and responder.
    pub(super) fn new([asked, answered]: [Option<(u8, u8)>; 2]) -> IcmpPart {
        IcmpPart {
            icmp_type: asked.map(|(kind, _)| kind),
            icmp_code: asked.map(|(_, code)| code),
            response_icmp_type: answered.map(|(kind, _)| kind),
            response_icmp_code: answered.map(|(_, code)| code),
        }
    }
}
