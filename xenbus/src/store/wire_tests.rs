// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the wire format.
use super::*;
use proptest::prelude::*;

#[test]
fn a_header_is_sixteen_little_endian_bytes_in_protocol_order() {
    let header = Header {
        kind: Kind::WRITE,
        req_id: 0x0102_0304,
        tx_id: 7,
        len: 4096,
    };
    let bytes = header.to_bytes();
    assert_eq!(bytes, [11, 0, 0, 0, 4, 3, 2, 1, 7, 0, 0, 0, 0, 16, 0, 0]);
    assert_eq!(Header::from_bytes(&bytes), header);
}

#[test]
fn path_limits_count_the_terminator_and_depend_on_the_first_character() {
    let long = [b'a'; 4000];
    for (prefix, at_limit) in [
        (None, 2047),
        (Some(&b"/x"[..]), 3071 - 3),
        (Some(&b""[..]), 3071 - 1),
        (Some(&b"x"[..]), 2047 - 2),
    ] {
        assert!(Path::new(prefix, &long[..at_limit]).is_ok(), "{prefix:?}");
        assert_eq!(
            Path::new(prefix, &long[..=at_limit]).err(),
            Some(status::INVALID_BUFFER_SIZE),
            "{prefix:?}"
        );
    }
    let mut absolute = long;
    absolute[0] = b'/';
    assert!(Path::plain(&absolute[..3071]).is_ok());
    assert!(Path::plain(&absolute[..3072]).is_err());
}

#[test]
fn an_empty_prefix_yields_an_absolute_path() {
    let path = Path::new(Some(b""), b"vm").expect("short");
    assert_eq!(path.parts().concat(), b"/vm");
    let path = Path::new(Some(b"device"), b"vif").expect("short");
    assert_eq!(path.parts().concat(), b"device/vif");
}

#[test]
fn a_nul_inside_a_path_is_refused() {
    assert_eq!(Path::plain(b"a\0b").err(), Some(status::INVALID_PARAMETER));
    assert!(Path::new(Some(b"a\0"), b"b").is_err());
}

#[test]
fn error_names_map_to_the_statuses_that_clients_branch_on() {
    for (name, expected) in [
        (&b"ENOENT\0"[..], 0xC000_0034u32),
        (b"EAGAIN\0", 0xC000_022D),
        (b"EQUOTA\0", 0xC000_0044),
        (b"EINVAL\0", 0xC000_000D),
        (b"EACCES\0", 0xC000_0022),
        (b"EPERM\0", 0xC000_0022),
        (b"EEXIST\0", 0xC000_022B),
        (b"EISDIR\0", 0xC000_00BA),
        (b"ENOMEM\0", 0xC000_0017),
        (b"ENOSPC\0", 0xC000_009A),
        (b"EIO\0", 0xC000_00E9),
        (b"ENOTEMPTY\0", 0xC000_0101),
        (b"ENOSYS\0", 0xC000_0002),
        (b"EROFS\0", 0xC000_00A2),
        (b"EBUSY\0", 0xC000_00AE),
        (b"EISCONN\0", 0xC000_00B2),
        (b"E2BIG\0", 0xC000_0206),
        (b"EWHAT\0", 0xC000_0001),
        (b"E", 0xC000_0001),
        (b"ENOEN", 0xC000_0001),
    ] {
        assert_eq!(
            parse_error(name).raw().cast_unsigned(),
            expected,
            "{name:?}"
        );
    }
}

#[test]
fn an_empty_error_is_a_protocol_error_and_not_the_first_name_of_the_table() {
    assert_eq!(parse_error(b""), status::DEVICE_PROTOCOL_ERROR);
    assert_eq!(parse_error(b"\0"), status::DEVICE_PROTOCOL_ERROR);
}

#[test]
fn only_a_decimal_nonzero_terminated_transaction_id_is_accepted() {
    assert_eq!(parse_tx_id(b"1\0"), Ok(1));
    assert_eq!(parse_tx_id(b"4294967295\0"), Ok(u32::MAX));
    for bad in [
        &b""[..],
        b"\0",
        b"0\0",
        b"00\0",
        b"1",
        b"-1\0",
        b"+1\0",
        b"4294967296\0",
        b"1x\0",
        b" 1\0",
        b"1\0\0",
    ] {
        assert_eq!(
            parse_tx_id(bad),
            Err(status::DEVICE_PROTOCOL_ERROR),
            "{bad:?}"
        );
    }
}

#[test]
fn a_watch_event_holds_exactly_two_terminated_strings() {
    assert_eq!(
        parse_watch_event(b"a/b\0tok\0"),
        Some((&b"a/b"[..], &b"tok"[..]))
    );
    for bad in [
        &b""[..],
        b"a",
        b"a\0",
        b"a\0b",
        b"a\0b\0c\0",
        b"\0b\0",
        b"a\0b\0\0",
    ] {
        assert_eq!(parse_watch_event(bad), None, "{bad:?}");
    }
}

#[test]
fn permissions_are_a_letter_and_a_decimal_domain() {
    let text = |domain, mask| Permission { domain, mask }.text();
    let mut out = std::vec::Vec::new();
    for (mask, domain) in [(0, 0), (1, 12), (2, 3), (3, u16::MAX)] {
        out.extend_from_slice(&text(domain, mask).expect("a mask"));
    }
    assert_eq!(&out[..], b"n0\0r12\0w3\0b65535\0");
    assert_eq!(text(0, 4), Err(status::INVALID_PARAMETER));
    let back: Result<std::vec::Vec<_>, _> = permissions(&out).collect();
    assert_eq!(
        back,
        Ok([(0, 0), (1, 12), (2, 3), (3, u16::MAX)]
            .map(|(mask, domain)| Permission { domain, mask })
            .to_vec())
    );
    for bad in [
        &b""[..],
        b"n",
        b"n1",
        b"\0",
        b"x1\0",
        b"n70000\0",
        b"n1\0\0",
        b"n-1\0",
    ] {
        assert!(permissions(bad).any(|entry| entry.is_err()), "{bad:?}");
    }
}

#[test]
fn a_part_of_a_directory_has_a_generation_whole_names_and_maybe_an_end() {
    let ok = |payload| parse_directory_part(payload).expect("well formed");
    assert_eq!(ok(b"7\0a\0bc\0"), (&b"7"[..], &b"a\0bc\0"[..], false));
    assert_eq!(ok(b"7\0a\0bc\0\0"), (&b"7"[..], &b"a\0bc\0"[..], true));
    assert_eq!(ok(b"7\0\0"), (&b"7"[..], &b""[..], true));
    for bad in [
        &b""[..],
        b"7",
        b"7\0",
        b"\0a\0",
        b"x\0a\0",
        b"7\0a",
        b"7\0\0\0",
        b"7\0\0a\0",
        b"7\0a\0\0b\0",
        b"123456789012345678901\0a\0",
    ] {
        assert!(parse_directory_part(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_of_a_directory_survive_a_missing_terminator_and_empty_names() {
    assert_eq!(names(b"").count(), 0);
    assert_eq!(names(b"\0\0").count(), 0);
    let all: std::vec::Vec<_> = names(b"0\0\x0012\0x").collect();
    assert_eq!(all, [&b"0"[..], b"12", b"x"]);
}

proptest! {
    #[test]
    fn tokens_round_trip(slot: u32, generation: u32) {
        prop_assert_eq!(parse_token(&token(slot, generation)), Some((slot, generation)));
    }

    #[test]
    fn headers_round_trip(bytes: [u8; HEADER_LEN]) {
        prop_assert_eq!(Header::from_bytes(&bytes).to_bytes(), bytes);
    }

    #[test]
    fn parsers_never_panic_and_stay_inside_the_payload(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_error(&bytes);
        let _ = parse_tx_id(&bytes);
        let _ = parse_token(&bytes);
        if let Some((path, token)) = parse_watch_event(&bytes) {
            prop_assert_eq!(path.len() + token.len() + 2, bytes.len());
        }
        prop_assert!(names(&bytes).map(|n| n.len()).sum::<usize>() <= bytes.len());
    }

    #[test]
    fn decimal_text_parses_back(value: u32) {
        let mut text = Decimal::default();
        prop_assert_eq!(parse_u32(text.format(value)), Some(value));
    }
}
