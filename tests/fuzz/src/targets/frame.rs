//! What neighbours say.

use shoal_protocol::Message;
use shoal_protocol::message::Hello;

/// Whatever can be read can be written, and reads the same again.
pub(super) fn frame(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else { return };
    let written = message.encode();
    assert_eq!(message.encoded_len(), written.len(), "it is as long as it says");
    let again = Message::decode(&written).expect("what was written can be read");
    // Not what was read: numbers that are no numbers are equal to nothing.
    assert_eq!(again.encode(), written, "it reads otherwise than it was written");
}

/// The golden bytes of each message are in `corpus/frame/`; `protocol/src/message/tests.rs` keeps them so.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    Vec::new()
}

pub(super) fn greeting(bytes: &[u8]) {
    if let Ok(hello) = Hello::decode(bytes) {
        assert!(Hello::decode(&hello.encode()).is_ok(), "what was written can be read");
    }
}

pub(super) fn greetings() -> Vec<Vec<u8>> {
    vec![Hello { run: 7, software: "shoald 0.1.0".into() }.encode()]
}
