//! What a device can do: `device.CapabilityInfo`, in both of its numberings.

use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType};

use crate::codec::pson::Value;
use crate::config::CapabilityNumbers;
use crate::grpc::generation::Generation;
use crate::grpc::proto::device as before_1_8;
use crate::grpc::proto::gsdk::device::CapabilityInfo;

/// What the services encode under this name, in the numbering that the client was built for.
#[derive(Clone, Debug, PartialEq)]
pub enum GetCapabilityInfoResponse {
    Since1_0(before_1_8::GetCapabilityInfoResponse),
    Since1_8(Since1_8),
}

/// The response as the contract has it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Since1_8 {
    #[prost(message, optional, tag = "1")]
    pub cap_info: Option<CapabilityInfo>,
}

impl GetCapabilityInfoResponse {
    /// Clients of the bare paths know the older numbers alone; those of the prefixed ones know
    /// either, which is why the operator says `prefixed`.
    pub fn numbered(
        info: CapabilityInfo,
        generation: Generation,
        prefixed: CapabilityNumbers,
    ) -> Self {
        match (generation, prefixed) {
            (Generation::Bare, _) | (_, CapabilityNumbers::Since1_0) => {
                Self::Since1_0(before_1_8::GetCapabilityInfoResponse {
                    cap_info: Some(renumbered(&info)),
                })
            }
            (Generation::Prefixed, CapabilityNumbers::Since1_8) => Self::Since1_8(Since1_8 {
                cap_info: Some(info),
            }),
        }
    }

    /// The content where it has the newer numbers, which is how a client reads it.
    pub const fn info(&self) -> Option<&CapabilityInfo> {
        match self {
            Self::Since1_0(_) => None,
            Self::Since1_8(response) => response.cap_info.as_ref(),
        }
    }
}

/// Read as the contract has it.
impl Default for GetCapabilityInfoResponse {
    fn default() -> Self {
        Self::Since1_8(Since1_8::default())
    }
}

impl prost::Message for GetCapabilityInfoResponse {
    fn encode_raw(&self, to: &mut impl BufMut) {
        match self {
            Self::Since1_0(response) => response.encode_raw(to),
            Self::Since1_8(response) => response.encode_raw(to),
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match self {
            Self::Since1_0(response) => response.merge_field(tag, wire_type, from, context),
            Self::Since1_8(response) => response.merge_field(tag, wire_type, from, context),
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            Self::Since1_0(response) => response.encoded_len(),
            Self::Since1_8(response) => response.encoded_len(),
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What is known of a device by its type and by its resources, as a Describe of all of them names
/// them. Nothing is concluded from the type: a flag is true only where the gateway can make use of
/// it.
pub fn of(device_type: i32, resources: Option<&Value>) -> CapabilityInfo {
    let has_slaves = resources.is_some_and(|resources| resources.get("slaves").is_some());
    CapabilityInfo {
        r#type: device_type,
        wiegand_supported: has_slaves,
        rs485_ext_supported: has_slaves,
        ..CapabilityInfo::default()
    }
}

fn renumbered(info: &CapabilityInfo) -> before_1_8::CapabilityInfo {
    before_1_8::CapabilityInfo {
        r#type: info.r#type,
        max_num_of_user: info.max_num_of_user,
        pin_supported: info.pin_supported,
        card_supported: info.card_supported,
        card1x_supported: info.card1x_supported,
        seos_supported: info.seos_supported,
        finger_supported: info.finger_supported,
        face_supported: info.face_supported,
        user_name_supported: info.user_name_supported,
        user_photo_supported: info.user_photo_supported,
        user_phrase_supported: info.user_phrase_supported,
        alphanumeric_id_supported: info.alphanumeric_id_supported,
        wlan_supported: info.wlan_supported,
        image_log_supported: info.image_log_supported,
        voip_supported: info.voip_supported,
        tna_supported: info.tna_supported,
        job_code_supported: info.job_code_supported,
        wiegand_supported: info.wiegand_supported,
        wiegand_multi_supported: info.wiegand_multi_supported,
        trigger_action_supported: info.trigger_action_supported,
        dst_supported: info.dst_supported,
        dns_supported: info.dns_supported,
        osdp_key_supported: info.osdp_key_supported,
        rs485_ext_supported: info.rs485_ext_supported,
        qr_supported: info.qr_supported,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn with_slaves() -> CapabilityInfo {
        let resources = Value::map([("slaves", Value::Null), ("device/info", Value::Null)]);
        of(9, Some(&resources))
    }

    /// Type 9, and the two flags under these numbers.
    fn bytes(wiegand: u32, rs485: u32) -> Vec<u8> {
        let mut info = Vec::new();
        prost::encoding::int32::encode(1, &9, &mut info);
        prost::encoding::bool::encode(wiegand, &true, &mut info);
        prost::encoding::bool::encode(rs485, &true, &mut info);
        let mut response = Vec::new();
        prost::encoding::bytes::encode(1, &info, &mut response);
        response
    }

    #[test]
    fn the_path_and_the_configuration_choose_the_numbers() {
        use CapabilityNumbers::{Since1_0, Since1_8};
        for (generation, prefixed, expected) in [
            (Generation::Prefixed, Since1_8, bytes(18, 24)),
            (Generation::Prefixed, Since1_0, bytes(40, 51)),
            (Generation::Bare, Since1_8, bytes(40, 51)),
            (Generation::Bare, Since1_0, bytes(40, 51)),
        ] {
            let response = GetCapabilityInfoResponse::numbered(with_slaves(), generation, prefixed);
            assert_eq!(response.encode_to_vec(), expected);
            assert_eq!(response.encoded_len(), expected.len());
        }
        let read = GetCapabilityInfoResponse::decode(&bytes(18, 24)[..]).expect("readable");
        assert_eq!(read.info(), Some(&with_slaves()));
    }

    #[test]
    fn nothing_is_claimed_without_the_resource() {
        for resources in [None, Some(Value::map([("device/info", Value::Null)]))] {
            let info = of(9, resources.as_ref());
            let expected = CapabilityInfo {
                r#type: 9,
                ..CapabilityInfo::default()
            };
            assert_eq!(info, expected);
        }
    }
}
