// SPDX-License-Identifier: BSD-2-Clause
//! Stories of a client and a daemon at the other end of a pair of sockets.

use std::io::{Read, Write};
use std::thread;

use futures_util::future::join_all;

use super::*;
use crate::wire::Inbox;
use crate::wire::tests::message;

/// A client and the daemon's end.
fn pair() -> (Mux, UnixStream) {
    let (near, far) = UnixStream::pair().expect("pair");
    (Mux::over(near).expect("mux"), far)
}

/// What a daemon gets: type, id, payload.
fn requests(far: &mut UnixStream, count: usize) -> Vec<(u32, u32, Vec<u8>)> {
    let mut inbox = Inbox::default();
    let mut seen = Vec::new();
    while seen.len() < count {
        let mut room = [0; 256];
        let some = far.read(&mut room).expect("request");
        inbox.extend(&room[..some]);
        while let Some(message) = inbox.next().expect("request") {
            seen.push((message.kind, message.id, message.payload));
        }
    }
    seen
}

fn read(mux: &Mux) -> Call {
    mux.call(Op::Read, 0, &[b"/a\0"])
}

/// What a read gives when the daemon says these bytes.
fn said(bytes: &[u8]) -> Answer {
    let (mux, mut far) = pair();
    far.write_all(bytes).expect("answer");
    mux.run(read(&mux))
}

fn why(answer: Answer) -> String {
    match answer {
        Err(Refused::Broken(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_find_their_requests_in_whatever_order_they_come() {
    let (mux, mut far) = pair();
    let daemon = thread::spawn(move || {
        let seen = requests(&mut far, 100);
        for (_, id, _) in seen.iter().rev() {
            let value = id.to_string();
            far.write_all(&message(2, *id, value.as_bytes()))
                .expect("answer");
        }
        seen.iter().map(|(_, id, _)| *id).collect::<Vec<_>>()
    });
    let calls: Vec<Call> = (0..100).map(|_| read(&mux)).collect();
    let answers = mux.run(join_all(calls));
    let wanted: Vec<Answer> = (1..=100u32)
        .map(|id| Ok(id.to_string().into_bytes()))
        .collect();
    assert_eq!(answers, wanted);
    assert_eq!(
        daemon.join().expect("daemon"),
        (1..=100).collect::<Vec<_>>()
    );
}

#[test]
fn more_than_the_socket_takes_at_once_goes_out_whole() {
    let (mux, mut far) = pair();
    let value = vec![b'v'; 4000];
    let daemon = thread::spawn(move || {
        for (kind, id, payload) in requests(&mut far, 500) {
            assert_eq!((kind, payload.len()), (11, 4003));
            far.write_all(&message(11, id, b"OK\0")).expect("answer");
        }
    });
    let write = |_| mux.call(Op::Write, 0, &[b"/a\0", &value]);
    let calls: Vec<Call> = (0..500).map(write).collect();
    assert!(mux.run(join_all(calls)).iter().all(Answer::is_ok));
    daemon.join().expect("daemon");
}

#[test]
fn what_answers_nothing_or_something_else_breaks_the_connection() {
    assert_eq!(
        why(said(&message(2, 9, b""))),
        "an answer of type 2 to request 9"
    );
    assert_eq!(
        why(said(&message(1, 1, b""))),
        "an answer of type 1 to Read"
    );
    let mut long = message(2, 1, b"");
    long[12..16].copy_from_slice(&5000u32.to_le_bytes());
    assert_eq!(why(said(&long)), "a message of 5000 bytes");
}

#[test]
fn an_answer_that_comes_twice_breaks_the_connection() {
    let (mux, mut far) = pair();
    let twice = [message(2, 1, b""), message(2, 1, b"")].concat();
    far.write_all(&twice).expect("answer");
    let (first, second) = (read(&mux), read(&mux));
    let answers = mux.run(join_all([first, second]));
    assert_eq!(answers[0], Ok(Vec::new()));
    assert!(matches!(answers[1], Err(Refused::Broken(_))));
}

#[test]
fn a_closed_connection_ends_everything_that_waits_and_all_that_follows() {
    let (mux, far) = pair();
    drop(far);
    let answers = mux.run(join_all([read(&mux), read(&mux)]));
    for answer in answers {
        assert!(why(answer).contains("xenstored"));
    }
    assert!(mux.broken().is_some());
    assert!(matches!(mux.run(read(&mux)), Err(Refused::Broken(_))));
    assert!(mux.run(mux.event(Duration::from_secs(9))).is_err());
}

#[test]
fn a_daemon_that_is_silent_too_long_is_given_up() {
    let (mux, _far) = pair();
    mux.lock().patience = Duration::from_millis(20);
    assert_eq!(
        why(mux.run(read(&mux))),
        "xenstored did not answer for 0.02 s"
    );
}

#[test]
fn a_refusal_is_the_daemons_word() {
    let refused = said(&message(ERROR, 1, b"ENOENT\0")).expect_err("refused");
    assert!(refused.is_missing());
    assert_eq!(said(&message(2, 1, b"v\0w")), Ok(b"v\0w".to_vec()));
}

#[test]
fn the_answer_to_a_request_that_was_given_up_is_thrown_away() {
    let (mux, mut far) = pair();
    drop(read(&mux));
    let answers = [message(2, 1, b"old"), message(2, 2, b"new")].concat();
    far.write_all(&answers).expect("answers");
    assert_eq!(mux.run(read(&mux)), Ok(b"new".to_vec()));
    assert!(mux.lock().slots.is_empty());
}

#[test]
fn an_event_goes_to_the_watch_with_its_token_and_others_to_the_common_queue() {
    let (mux, mut far) = pair();
    // The first event comes before the answer, which is what daemons may do.
    let bytes = [message(WATCH_EVENT, 0, b"/a\0w1\0"), message(4, 1, b"OK\0")];
    far.write_all(&bytes.concat()).expect("bytes");
    mux.run(async {
        let mut watch = mux.watch("/a").await.expect("watch");
        let bytes = [
            message(WATCH_EVENT, 0, b"/a/b\0w1\0"),
            message(WATCH_EVENT, 0, b"/c\0mine\0"),
            message(2, 2, b""),
        ];
        let answered = read(&mux);
        far.write_all(&bytes.concat()).expect("bytes");
        answered.await.expect("read");
        // Both of its events are one.
        assert_eq!(watch.changed(Duration::from_secs(9)).await, Ok(true));
        assert_eq!(watch.changed(Duration::ZERO).await, Ok(false));
        let event = mux.event(Duration::ZERO).await.expect("alive");
        let wanted = Event {
            path: "/c".into(),
            token: "mine".into(),
        };
        assert_eq!(event, Some(wanted));
    });
}

#[test]
fn a_watch_that_ends_takes_its_late_events_along() {
    let (mux, mut far) = pair();
    far.write_all(&message(4, 1, b"OK\0")).expect("answer");
    drop(mux.run(mux.watch("/a")));
    let bytes = [
        message(WATCH_EVENT, 0, b"/a\0w1\0"),
        message(5, 2, b"OK\0"),
        message(2, 3, b""),
    ];
    far.write_all(&bytes.concat()).expect("bytes");
    assert_eq!(mux.run(read(&mux)), Ok(Vec::new()));
    let seen = requests(&mut far, 3);
    assert_eq!((seen[0].0, &seen[0].2[..]), (4, &b"/a\0w1\0"[..]));
    assert_eq!((seen[1].0, &seen[1].2[..]), (5, &b"/a\0w1\0"[..]));
    let state = mux.lock();
    assert!(state.watched.is_empty() && state.events.is_empty());
}

#[test]
fn a_wait_ends_at_its_limit_and_sees_what_had_come() {
    let (mux, mut far) = pair();
    assert_eq!(mux.run(mux.event(Duration::from_millis(5))), Ok(None));
    far.write_all(&message(WATCH_EVENT, 0, b"/a\0t\0"))
        .expect("event");
    assert!(matches!(mux.run(mux.event(Duration::ZERO)), Ok(Some(_))));
    assert!(mux.lock().timers.is_empty());
}

#[test]
fn a_request_that_the_device_refuses_is_answered_without_waiting_for_something_else() {
    let mux = Mux::new(Line::refusing()).expect("mux");
    mux.lock().patience = Duration::from_millis(200);
    let refused = Refused::Name("EINVAL".into());
    assert_eq!(mux.run(mux.watch("/a")).map(drop), Err(refused.clone()));
    // So is the end of a watch that came to nothing, and whatever follows.
    assert_eq!(mux.run(read(&mux)), Err(refused));
    assert!(mux.lock().slots.is_empty());
}
