// SPDX-License-Identifier: BSD-2-Clause
//! Messages of xenstore's protocol as bytes: a header of four words (type, id, transaction, length) and what belongs to the type.

/// Message types that a client sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Op {
    Control = 0,
    Directory = 1,
    Read = 2,
    GetPerms = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Introduce = 8,
    Write = 11,
    Mkdir = 12,
    Rm = 13,
    SetPerms = 14,
    DirectoryPart = 22,
}

/// Type of a fired watch; it answers nothing.
pub(crate) const WATCH_EVENT: u32 = 15;
/// Type of a refusal.
pub(crate) const ERROR: u32 = 16;
/// What may follow a header, in both directions.
pub(crate) const MAX_PAYLOAD: usize = 4096;
const HEADER: usize = 16;

/// What xenstored answered a refused request with, or what broke the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// xenstored's own word, such as `ENOENT`.
    Name(String),
    /// The connection is unusable.
    Broken(String),
}

impl Refused {
    /// True if the node does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        *self == Self::Name("ENOENT".into())
    }
}

/// What a request gives.
pub(crate) type Answer<T = Vec<u8>> = Result<T, Refused>;

/// The bytes of a request, or `E2BIG` for one that no daemon takes.
pub(crate) fn request(op: Op, id: u32, transaction: u32, parts: &[&[u8]]) -> Answer {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    if len > MAX_PAYLOAD {
        return Err(Refused::Name("E2BIG".into()));
    }
    let mut message = Vec::with_capacity(HEADER + len);
    for word in [op as u32, id, transaction, len as u32] {
        message.extend(word.to_le_bytes());
    }
    for part in parts {
        message.extend(*part);
    }
    Ok(message)
}

/// One message of the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u32,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// The name in a refusal.
    pub(crate) fn error(&self) -> String {
        let name = self.payload.split(|byte| *byte == 0).next();
        String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
    }
}

/// Bytes as they come, cut into messages.
#[derive(Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// Those before are taken.
    taken: usize,
}

impl Inbox {
    /// Adds what came.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend(bytes);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Answer<Option<Message>> {
        let rest = &self.bytes[self.taken..];
        let Some((header, rest)) = rest.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let (words, _) = header.as_chunks::<4>();
        let [kind, id, _, len] = std::array::from_fn(|n| u32::from_le_bytes(words[n]));
        let len = len as usize;
        if len > MAX_PAYLOAD {
            return Err(Refused::Broken(format!("a message of {len} bytes")));
        }
        let Some(payload) = rest.get(..len) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.taken += HEADER + len;
        Ok(Some(Message { kind, id, payload }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread::{self, JoinHandle};

    /// A message of the daemon.
    pub(crate) fn message(kind: u32, id: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = [kind, id, 0, payload.len() as u32]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        bytes.extend(payload);
        bytes
    }

    /// A daemon that takes one request before each of its answers, and returns what the requests had behind their headers.
    pub(crate) fn scripted(answers: Vec<Vec<u8>>) -> (UnixStream, JoinHandle<Vec<Vec<u8>>>) {
        let (near, mut far) = UnixStream::pair().expect("pair");
        let daemon = thread::spawn(move || {
            let answer = |answer: Vec<u8>| {
                let mut header = [0; HEADER];
                far.read_exact(&mut header).expect("header");
                let mut payload = vec![0; usize::from(header[12])];
                far.read_exact(&mut payload).expect("payload");
                far.write_all(&answer).expect("answer");
                payload
            };
            answers.into_iter().map(answer).collect()
        });
        (near, daemon)
    }

    #[test]
    fn a_request_is_its_header_and_its_parts() {
        let read = request(Op::Read, 1, 7, &[b"/a", b"\0"]).expect("short");
        assert_eq!(
            read,
            b"\x02\0\0\0\x01\0\0\0\x07\0\0\0\x03\0\0\0/a\0".to_vec()
        );
        assert!(request(Op::Write, 1, 0, &[&[b'a'; 4096]]).is_ok());
        assert_eq!(
            request(Op::Write, 1, 0, &[&[b'a'; 4096], b"b"]),
            Err(Refused::Name("E2BIG".into()))
        );
    }

    #[test]
    fn messages_are_whole_however_their_bytes_come() {
        let mut bytes = message(2, 5, b"value");
        bytes.extend(message(ERROR, 6, b"ENOENT\0"));
        for step in 1..bytes.len() {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for part in bytes.chunks(step) {
                inbox.extend(part);
                while let Some(message) = inbox.next().expect("good") {
                    seen.push((message.kind, message.id, message.payload));
                }
            }
            let wanted = [(2, 5, b"value".to_vec()), (ERROR, 6, b"ENOENT\0".to_vec())];
            assert_eq!(seen, wanted, "{step} bytes at a time");
        }
    }

    #[test]
    fn a_message_too_long_is_refused_before_its_bytes_come() {
        let mut bytes = message(2, 1, b"");
        bytes[12..16].copy_from_slice(&4097u32.to_le_bytes());
        let mut inbox = Inbox::default();
        inbox.extend(&bytes);
        assert!(matches!(inbox.next(), Err(Refused::Broken(why)) if why.contains("4097")));
    }
}
