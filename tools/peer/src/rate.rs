// SPDX-License-Identifier: BSD-2-Clause
//! How fast xenstored answers a client that costs next to nothing itself: `xenpeer store rate`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::mux::{REPLY_LIMIT, SOCKET, connect};
use crate::wire::{Answer, Inbox, Op, Refused, request};
use crate::{Failure, Result};

/// Passes of which the fastest counts.
const PASSES: u32 = 5;

/// Prints in how many nanoseconds of dom0's monotonic clock `count` reads are answered, with up to `depth` on their way.
pub(crate) fn run(path: &str, count: u32, depth: u32) -> Result {
    let mut stream = connect()?;
    let bounded = stream.set_read_timeout(Some(REPLY_LIMIT));
    bounded.map_err(|e| Failure::new(format!("{SOCKET}: {e}")))?;
    let mut fastest = Duration::MAX;
    for _ in 0..PASSES {
        let start = Instant::now();
        read_many(&mut stream, path, count, depth)?;
        fastest = fastest.min(start.elapsed());
    }
    let ns = fastest.as_nanos();
    println!("{{\"count\":{count},\"depth\":{depth},\"ns\":{ns}}}");
    Ok(())
}

/// Reads a value `count` times: what is missing to `depth` requests on their way is sent in one write once half of them have been
/// answered.
fn read_many(stream: &mut UnixStream, path: &str, count: u32, depth: u32) -> Answer<()> {
    let broken = |e: std::io::Error| Refused::Broken(format!("{SOCKET}: {e}"));
    let (mut sent, mut answered) = (0, 0);
    let mut inbox = Inbox::default();
    let mut room = vec![0; 1 << 16];
    while answered < count {
        if sent - answered <= depth / 2 {
            let more = (depth - (sent - answered)).min(count - sent);
            let mut batch = Vec::new();
            for id in sent..sent + more {
                batch.extend(request(Op::Read, id, 0, &[path.as_bytes(), b"\0"])?);
            }
            stream.write_all(&batch).map_err(broken)?;
            sent += more;
        }
        match stream.read(&mut room).map_err(broken)? {
            0 => return Err(Refused::Broken("xenstored closed the connection".into())),
            n => inbox.extend(&room[..n]),
        }
        while let Some(message) = inbox.next()? {
            if message.kind != Op::Read as u32 || message.id != answered {
                let (kind, id) = (message.kind, message.id);
                let why = format!("an answer of type {kind} to request {id}");
                return Err(Refused::Broken(why));
            }
            answered += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ERROR;
    use crate::wire::tests::{message, scripted};

    #[test]
    fn many_reads_keep_their_window_and_count_every_answer() {
        let answers = (0..10).map(|id| message(2, id, b"value")).collect();
        let (mut stream, daemon) = scripted(answers);
        assert_eq!(read_many(&mut stream, "/a", 10, 4), Ok(()));
        assert_eq!(daemon.join().expect("daemon").len(), 10);
    }

    #[test]
    fn many_reads_do_not_take_a_refusal_or_another_answer_for_theirs() {
        for bad in [message(ERROR, 0, b"ENOENT\0"), message(2, 1, b"value")] {
            let (mut stream, daemon) = scripted(vec![bad]);
            let answer = read_many(&mut stream, "/a", 1, 1);
            assert!(matches!(answer, Err(Refused::Broken(_))), "{answer:?}");
            daemon.join().expect("daemon");
        }
    }
}
